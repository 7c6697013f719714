// Draws the plotly figures of a notebook when they come near; plotly itself lies beside this file and is loaded once.

const library = new URL("plotly.min.js", document.currentScript.src);
let loading = null;

const loadPlotly = () => (loading ??= new Promise((done, failed) => {
  window.PlotlyConfig = { MathJaxConfig: "local" };
  const script = document.createElement("script");
  Object.assign(script, { src: library, onload: () => done(window.Plotly), onerror: () => failed(new Error(`${library} is missing`)) });
  document.head.append(script);
}));

/** Draw a figure as wide as its place. */
async function draw(place) {
  const { data, layout } = JSON.parse(place.querySelector("script").textContent);
  delete layout.width;
  const Plotly = await loadPlotly();
  await Plotly.newPlot(place, data, { ...layout, autosize: true }, { responsive: true, displaylogo: false });
  place.dataset.drawn = "";
}

document.addEventListener("DOMContentLoaded", () => {
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target).catch((error) => (target.textContent = `This figure could not be drawn: ${error.message}`));
    }
  }, { rootMargin: "600px" });
  for (const place of document.querySelectorAll(".notebook-figure")) near.observe(place);
});
