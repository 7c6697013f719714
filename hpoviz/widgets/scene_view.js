// The 3D view on screens of any width: plotly cannot ask how wide it is.

/** Show a scene as large as there is room: it is made for `wide` pixels, and where there are few only ends have names. */
function fitScene(Plotly, root, { wide, narrow, ratio, all, few }) {
  const width = root.clientWidth;
  if (!width || width === root.hpovizWidth) return;
  root.hpovizWidth = width;
  const share = Math.min(width / wide, 1);
  const names = (width < narrow ? few : all).map((name) => ({ ...name, font: { ...name.font, size: Math.max(name.font.size * share, 8) } }));
  return Plotly.relayout(root, {
    width, "scene.aspectratio": { x: ratio.x * share, y: ratio.y * share, z: ratio.z * share }, "scene.annotations": names,
  });
}
