// The 3D view on screens of any width: plotly cannot ask how wide it is.

/** Show a scene as large as there is room: it is made for `wide` pixels, and where there are few only ends have names. */
function fitScene(Plotly, root, { wide, narrow, ratio, trace, all, few }) {
  const width = root.clientWidth;
  if (!width || width === root.hpovizWidth) return;
  root.hpovizWidth = width;
  const share = Math.min(width / wide, 1), { x, y, z, text } = width < narrow ? few : all;
  Plotly.update(
    root,
    { x: [x], y: [y], z: [z], text: [text], "textfont.size": Math.max(11 * share, 8) },
    { width, "scene.aspectratio": { x: ratio.x * share, y: ratio.y * share, z: ratio.z * share } },
    [trace],
  );
}
