const Plotly = module.exports;

/** One scene: drawn when it has a width, and fitted whenever that changes. */
function render({ model, el }) {
  const { data, layout, frames } = JSON.parse(model.get("figure")), fit = model.get("fit");
  const root = make("div", { class: "hpoviz-scene" });
  const changed = () => {
    drawn = drawn?.then(() => {
      const now = JSON.parse(model.get("figure"));
      root.hpovizWidth = null;
      return !ended && Plotly.react(root, now.data, { ...now.layout, width: root.clientWidth });
    });
    place();
  };
  let drawn, ended = false;
  const place = () => {
    if (!root.clientWidth) return;
    drawn ??= Plotly.newPlot(root, data, { ...layout, width: root.clientWidth }, { displaylogo: false, showSendToCloud: false })
      .then(() => !ended && frames && Plotly.addFrames(root, frames));
    drawn.then(() => !ended && fitScene(Plotly, root, fit)).then(() => root.setAttribute("data-ready", "true"));
  };
  el.append(root);
  const sizes = new ResizeObserver(() => requestAnimationFrame(place));
  sizes.observe(root);
  model.on("change:figure", changed);
  return () => {
    ended = true;
    model.off("change:figure", changed);
    sizes.disconnect();
    Plotly.purge(root);
  };
}

export default { render };
