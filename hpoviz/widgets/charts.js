// Two charts as SVG: lines over epochs, and dots over trials. Each is drawn anew when its data change.

const SVG_NS = "http://www.w3.org/2000/svg";
const LINE_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7b5cd6", "#b03a2e"];
const LINE_COLOURS_DARK = ["#5db8f0", "#ff9450", "#3ddbaa", "#f0a6d0", "#e6c34d", "#a5dcff", "#b9a4ff", "#ff8f85"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const MARGIN = { top: 10, right: 16, bottom: 34, left: 46 };

function svgMake(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG_NS, name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Return up to `count` round numbers that span low to high. */
function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** Return the range that holds all values, a little wider, inside [0, 1] where they are shares. */
function span(values, least = 0.02) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!Number.isFinite(low)) return [0, 1];
  const half = Math.max((high - low) * 0.06, least / 2);
  low -= half; high += half;
  if (Math.min(...values) >= 0 && Math.max(...values) <= 1) [low, high] = [Math.max(low, 0), Math.min(high, 1)];
  return [low, high];
}

/** A figure with axes; what is under the pointer is said below it. */
class Chart {
  /** title and x: what is written; level: of the heading. */
  constructor({ title, x, level = "h4", height = 220 }) {
    Object.assign(this, { title, xLabel: x, height });
    this.svg = svgMake("svg", { role: "img", height });
    this.said = make("figcaption", { class: "hp-said" });
    this.element = make("figure", { class: "hp-chart" }, make(level, {}, title), this.svg, this.said);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#rest());
    this.points = [];
  }

  /** Begin anew with the ranges of both axes; x counts. */
  begin(width, [x0, x1], [y0, y1]) {
    this.width = width;
    const { top, right, bottom, left } = MARGIN;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.svg.setAttribute("width", width);
    this.xAt = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - right);
    this.yAt = (y) => this.height - bottom - ((y - y0) / (y1 - y0 || 1)) * (this.height - top - bottom);
    const grid = svgMake("g", { class: "hp-grid" });
    const levels = ticks(y0, y1, 4), digits = levels.length > 1 ? Math.max(0, Math.ceil(-Math.log10(levels[1] - levels[0]) + 0.7)) : 3;
    for (const y of levels) {
      const at = this.yAt(y);
      grid.append(
        svgMake("line", { x1: left, x2: width - right, y1: at, y2: at }),
        svgMake("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, String(Number(y.toFixed(digits)))),
      );
    }
    const whole = ticks(x0, x1, Math.max(2, Math.min(8, Math.floor(width / 70)))).filter(Number.isInteger);
    for (const x of whole) {
      grid.append(svgMake("text", { x: this.xAt(x), y: this.height - bottom + 16, "text-anchor": "middle" }, String(x)));
    }
    grid.append(
      svgMake("text", { x: (left + width - right) / 2, y: this.height - 3, "text-anchor": "middle", class: "hp-axis" }, this.xLabel),
    );
    this.mark = svgMake("circle", { r: 5.5, class: "hp-mark", visibility: "hidden" });
    this.svg.replaceChildren(grid);
    this.points = [];
  }

  /** End: what it shows in words, for who cannot see it and as its caption. */
  end(words) {
    this.svg.append(this.mark);
    this.words = words;
    this.svg.setAttribute("aria-label", `${this.title}. ${words}`);
    this.#rest();
  }

  #rest() {
    this.mark?.setAttribute("visibility", "hidden");
    if (this.said.textContent !== this.words) this.said.textContent = this.words ?? "";
  }

  #point(event) {
    const box = this.svg.getBoundingClientRect(), scale = this.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let nearest, least = 40 ** 2;
    for (const point of this.points) {
      const away = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (away < least) [nearest, least] = [point, away];
    }
    if (!nearest) return this.#rest();
    this.mark.setAttribute("cx", nearest.x);
    this.mark.setAttribute("cy", nearest.y);
    this.mark.setAttribute("visibility", "visible");
    this.said.textContent = nearest.says;
  }
}

/**
 * Draw curves over epochs. series: [{ name, values: [number or null], bold }]; neighbours differ in colour and dash.
 */
function drawCurves(chart, width, series, dark, none) {
  const all = series.flatMap((one) => one.values.filter((value) => value != null));
  const longest = Math.max(2, ...series.map((one) => one.values.length));
  chart.begin(width, [1, longest], span(all));
  const colours = dark ? LINE_COLOURS_DARK : LINE_COLOURS;
  const names = make("div", { class: "hp-names" });
  series.forEach((one, at) => {
    const colour = colours[at % colours.length], dash = DASHES[at % DASHES.length];
    let path = "", pen = "M";
    one.values.forEach((value, index) => {
      if (value == null) return void (pen = "M");
      const x = chart.xAt(index + 1), y = chart.yAt(value);
      path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      chart.points.push({ x, y, says: `${one.name}, epoch ${index + 1}: ${value.toFixed(4)}` });
    });
    const first = one.values.findIndex((value) => value != null);
    if (first >= 0 && one.values.filter((value) => value != null).length === 1) path += "h0.01"; // a dot
    chart.svg.append(svgMake("path", {
      d: path || "M0 0", stroke: colour, "stroke-width": one.bold ? 3 : 2, "stroke-dasharray": dash, fill: "none",
      "stroke-linecap": "round", "stroke-linejoin": "round",
    }));
    const key = svgMake("svg", { width: 26, height: 10, "aria-hidden": "true" }, svgMake("path", {
      d: "M1 5H25", stroke: colour, "stroke-width": one.bold ? 3 : 2, "stroke-dasharray": dash,
    }));
    names.append(make("span", {}, key, one.name));
  });
  chart.element.querySelector(".hp-names")?.remove();
  chart.said.before(names);
  const ends = series.filter((one) => one.values.length).map((one) => {
    const last = one.values.findLast((value) => value != null);
    return `${one.name} ${last == null ? "no number" : last.toFixed(3)}`;
  });
  chart.end(ends.length ? `Last: ${ends.join(" · ")}` : none);
}

/** Draw scores over the order of finishing, and the best so far. trials: rows with number, state and score. */
function drawHistory(chart, width, trials, best, none) {
  const ended = trials.filter((trial) => trial.number != null && trial.state !== "cancelled").sort((a, b) => a.number - b.number);
  const scored = ended.filter((trial) => trial.score != null);
  const last = ended.length ? ended[ended.length - 1].number : 1;
  const [low, high] = span(scored.map((trial) => trial.score));
  chart.begin(width, [0, Math.max(last, 1)], [low, high]);
  const floor = chart.yAt(low);
  const shapes = { finished: "", pruned: "", none: "" };
  let steps = "", top = -Infinity;
  for (const trial of ended) {
    const x = chart.xAt(trial.number), known = trial.score != null;
    const y = known ? chart.yAt(trial.score) : floor;
    if (trial.state === "finished" && known) {
      shapes.finished += `M${x.toFixed(1)} ${y.toFixed(1)}h0.01`;
      if (trial.score > top) {
        steps += steps ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`;
        top = trial.score;
      }
    } else if (known) {
      shapes.pruned += `M${(x - 3).toFixed(1)} ${y.toFixed(1)}l3 3l3 -3l-3 -3z`;
    } else {
      shapes.none += `M${(x - 3).toFixed(1)} ${(y - 3).toFixed(1)}l6 6m0 -6l-6 6`;
    }
    const score = known ? `, score ${trial.score.toFixed(4)}` : "";
    chart.points.push({ x, y, says: `Trial ${trial.number}: ${trial.state}${score}` });
  }
  if (steps) steps += `H${chart.xAt(Math.max(last, 1)).toFixed(1)}`;
  chart.svg.append(
    svgMake("path", { d: steps || "M0 0", class: "hp-steps" }),
    svgMake("path", { d: shapes.none || "M0 0", class: "hp-crosses" }),
    svgMake("path", { d: shapes.pruned || "M0 0", class: "hp-diamonds" }),
    svgMake("path", { d: shapes.finished || "M0 0", class: "hp-dots" }),
  );
  const star = ended.find((trial) => trial.id === best);
  if (star?.score != null) {
    chart.svg.append(svgMake("text", {
      x: chart.xAt(star.number), y: chart.yAt(star.score) + 6, "text-anchor": "middle", class: "hp-star",
    }, "★"));
  }
  chart.end(ended.length ? `● finished  ◆ pruned  ✕ failed  ★ best, line: best so far. ${ended.length === 1 ? "1 trial has" : `${ended.length} trials have`} ended.` : none);
}
