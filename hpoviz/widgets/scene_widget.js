const Plotly = module.exports;

/** One scene: drawn when it has a width, and fitted whenever that changes. */
function render({ model, el }) {
  const { data, layout, frames } = JSON.parse(model.get("figure")), fit = model.get("fit");
  const root = make("div", { class: "hpoviz-scene" });
  let drawn;
  const place = () => {
    if (!root.clientWidth) return;
    drawn ??= Plotly.newPlot(root, data, { ...layout, width: root.clientWidth }, { displaylogo: false }).then(() => frames && Plotly.addFrames(root, frames));
    drawn.then(() => root.isConnected && fitScene(Plotly, root, fit)).then(() => root.setAttribute("data-ready", "true"));
  };
  el.append(root);
  const sizes = new ResizeObserver(() => requestAnimationFrame(place));
  sizes.observe(root);
  return () => {
    sizes.disconnect();
    Plotly.purge(root);
  };
}

export default { render };
