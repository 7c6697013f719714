// The trials as tiles. Only tiles that can be seen are on the page, so that a thousand trials scroll as smoothly as ten.

const TILE = { width: 214, height: 246, gap: 10 };
const GLYPHS = { finished: "●", running: "◔", pruned: "◆", failed: "✕", infeasible: "⊘", cancelled: "■", interrupted: "▣" };
const RANKS = ["finished", "running", "pruned", "infeasible", "failed", "interrupted", "cancelled"];
const ORDERS = {
  score: ["best score", (a, b) => RANKS.indexOf(a.state) - RANKS.indexOf(b.state) || descending(a.score, b.score)],
  newest: ["newest", (a, b) => descending(a.number ?? Infinity, b.number ?? Infinity) || b.id - a.id],
  number: ["number", (a, b) => descending(-(a.number ?? Infinity), -(b.number ?? Infinity)) || a.id - b.id],
  accuracy: ["accuracy", (a, b) => descending(a.accuracy, b.accuracy)],
  health: ["health", (a, b) => descending(a.health, b.health)],
  weights: ["fewest weights", (a, b) => descending(minus(a.weights), minus(b.weights))],
  seconds: ["fastest", (a, b) => descending(minus(a.seconds), minus(b.seconds))],
};

const minus = (value) => (value == null ? null : -value);

/** Compare so that the largest comes first, and what is missing last. */
function descending(a, b) {
  if (a == null || b == null) return (a == null) - (b == null);
  return b > a ? 1 : b < a ? -1 : 0;
}

const figure = (value, digits = 4) => (value == null ? "–" : value.toFixed(digits));
const count = (value) => (value == null ? "–" : value.toLocaleString("en-US"));
const dollars = (value) => `$${value.toFixed(value >= 0.01 || value <= 0 ? 2 : 1 - Math.floor(Math.log10(value)))}`;
const seconds = (value) => (value == null ? "–" : value < 100 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`);

/** The overall health of a trial, and of how many metrics it is made where some are not known. */
function healthOf(trial, digits) {
  const metrics = Object.values(trial.metrics), known = metrics.filter((value) => value != null).length;
  return figure(trial.health, digits) + (trial.health != null && known < metrics.length ? ` (${known} of ${metrics.length})` : "");
}

/** Accuracy and health in the width of a tile, which a health with its coverage nearly fills. */
function accuracyAndHealth(trial) {
  if (trial.health == null) return `accuracy ${figure(trial.accuracy, 3)}`;
  const health = healthOf(trial, 2);
  return `${health.includes("(") ? "acc" : "accuracy"} ${figure(trial.accuracy, 3)} · health ${health}`;
}

/** Say a parameter as Python does, with three digits of a fraction. */
function sayValue(value) {
  if (value === true || value === false) return value ? "True" : "False";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(3)));
  return value == null ? "" : String(value);
}

/** What a trial is called: by the order of finishing, or while it runs by the order of asking. */
const nameOf = (trial) => (trial.number == null ? `trial id ${trial.id}` : `Trial ${trial.number}`);

class Gallery {
  /**
   * get(): { trials: Map, names, head }; ui: what is sorted, filtered and chosen, kept by whoever keeps the dashboard;
   * open(id): shows details; compare(): shows what is chosen side by side.
   */
  constructor({ get, ui, open, compare }) {
    Object.assign(this, { get, ui, open, tiles: new Map() });
    this.order = make("select", { onchange: () => this.#chosen("order", this.order.value) });
    for (const [name, [words]] of Object.entries(ORDERS)) this.order.append(make("option", { value: name }, words));
    this.state = make("select", { onchange: () => this.#chosen("state", this.state.value) });
    for (const name of ["all", ...Object.keys(GLYPHS)]) this.state.append(make("option", { value: name }, name));
    this.search = make("input", {
      type: "search", placeholder: "relu, adam, 3 …", oninput: () => this.#chosen("search", this.search.value),
    });
    this.compareButton = make("button", { type: "button", onclick: compare }, "Compare");
    this.clearButton = make("button", { type: "button", onclick: () => this.clear() }, "Clear");
    this.shown = make("span", { class: "hp-muted", role: "status" });
    this.sheet = make("div", { class: "hp-sheet", role: "list" });
    this.view = make("div", {
      class: "hp-view", tabindex: "0", role: "region", "aria-label": "Trials", onscroll: () => this.#place(),
    }, this.sheet);
    this.element = make("section", { class: "hp-gallery" },
      make("div", { class: "hp-bar" },
        make("h3", {}, "Trials"),
        make("label", {}, "sort by", this.order), make("label", {}, "show", this.state),
        make("label", {}, "with", this.search), this.compareButton, this.clearButton, this.shown),
      this.view);
    this.order.value = ui.order; this.state.value = ui.state; this.search.value = ui.search;
  }

  clear() {
    this.ui.chosen.clear();
    this.render();
  }

  /** Draw anew what has changed. */
  render() {
    const { trials, head, names } = this.get(), { ui } = this;
    const words = ui.search.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...trials.values()].filter((trial) => (ui.state === "all" || trial.state === ui.state) && words.every((word) => this.#says(trial, names).includes(word)));
    found.sort((a, b) => ORDERS[ui.order][1](a, b) || a.id - b.id);
    this.list = found;
    this.head = head;
    this.names = names;
    const chosen = [...ui.chosen].filter((id) => trials.has(id)).length;
    say(this.compareButton, `Compare${chosen ? ` ${chosen}` : ""}`);
    this.compareButton.disabled = chosen < 2;
    this.compareButton.title = chosen < 2 ? "Tick two or more trials to compare them." : "";
    this.clearButton.hidden = !chosen;
    say(this.shown, trials.size ? `${found.length} of ${trials.size}` : "");
    this.#place();
  }

  #says(trial, names) {
    if (trial.words == null) {
      const params = trial.params.map((value, at) => (value == null ? "" : `${names[at]}=${sayValue(value)}`));
      trial.words = [nameOf(trial), trial.state, trial.origin, ...params, trial.reason].join(" ").toLowerCase();
    }
    return trial.words;
  }

  #chosen(what, value) {
    this.ui[what] = value;
    this.view.scrollTop = 0;
    this.render();
  }

  /** Put tiles where they can be seen, and take away those that cannot. */
  #place() {
    if (!this.list) return;
    const width = this.view.clientWidth;
    if (!width) return;
    const columns = Math.max(1, Math.floor((width + TILE.gap) / (TILE.width + TILE.gap)));
    const across = (width - (columns - 1) * TILE.gap) / columns, down = TILE.height + TILE.gap;
    const rows = Math.ceil(this.list.length / columns);
    this.sheet.style.height = `${Math.max(rows * down - TILE.gap, 40)}px`;
    this.view.classList.toggle("hp-empty", !this.list.length);
    const first = Math.max(0, Math.floor(this.view.scrollTop / down) - 1) * columns;
    const end = Math.min(this.list.length, (Math.ceil((this.view.scrollTop + (this.view.clientHeight || 480)) / down) + 1) * columns);
    const places = [];
    for (let at = first; at < end; at += 1) places.push(at);
    const held = this.list.findIndex(({ id }) => this.tiles.get(id)?.element.contains(document.activeElement));
    if (held >= 0 && (held < first || held >= end)) places.push(held); // what has the focus stays
    const wanted = new Set(places.map((at) => this.list[at].id));
    for (const [id, tile] of this.tiles) {
      if (!wanted.has(id)) {
        tile.element.remove();
        this.tiles.delete(id);
      }
    }
    let before = null;
    for (const at of places.sort((a, b) => a - b)) {
      const trial = this.list[at];
      if (!this.tiles.has(trial.id)) this.tiles.set(trial.id, this.#makeTile(trial.id));
      const tile = this.tiles.get(trial.id), { element } = tile;
      this.#fill(tile, trial, at);
      element.style.width = `${across}px`;
      element.style.transform = `translate(${(at % columns) * (across + TILE.gap)}px, ${Math.floor(at / columns) * down}px)`;
      const next = before ? before.nextElementSibling : this.sheet.firstElementChild; // read in the order that is seen
      if (next !== element && !(element.isConnected && element.contains(document.activeElement))) this.sheet.insertBefore(element, next);
      before = element;
    }
  }

  #makeTile(id) {
    const title = make("strong"), badge = make("span", { class: "hp-badge" }), state = make("span", { class: "hp-state" });
    const tick = make("input", {
      type: "checkbox",
      onchange: () => {
        tick.checked ? this.ui.chosen.add(id) : this.ui.chosen.delete(id);
        this.render();
      },
    });
    const score = make("span", { class: "hp-score" }), facts = make("span", { class: "hp-facts" });
    const line = svgMake("path", { class: "hp-spark", d: "M0 0" });
    const spark = svgMake("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
    const params = make("dl", {}), note = make("span", { class: "hp-note" });
    const button = make("button", { type: "button", class: "hp-details", onclick: () => this.open(id) }, "View details");
    const element = make("article", { class: "hp-tile", role: "listitem", "data-trial": id },
      make("header", {}, title, badge, make("label", { class: "hp-tick", title: "compare" }, tick)),
      state, score, facts, spark, params, note, button);
    return { element, title, badge, state, tick, score, facts, line, spark, params, note, button };
  }

  #fill(tile, trial, at) {
    const best = this.head.best === trial.id;
    tile.tick.checked = this.ui.chosen.has(trial.id);
    tile.element.setAttribute("aria-setsize", this.list.length);
    tile.element.setAttribute("aria-posinset", at + 1);
    if (tile.trial === trial && tile.best === best && tile.telling === String(this.head.telling)) return;
    Object.assign(tile, { trial, best, telling: String(this.head.telling) });
    tile.element.dataset.state = trial.state;
    tile.element.classList.toggle("hp-best", best);
    say(tile.title, nameOf(trial));
    say(tile.badge, best ? "★ best" : trial.origin === "search" ? "" : trial.origin);
    tile.tick.setAttribute("aria-label", `compare ${nameOf(trial)}`);
    say(tile.state, `${GLYPHS[trial.state] ?? "?"} ${trial.state}`);
    const last = trial.curve.findLast(([, validation]) => validation != null)?.[1];
    say(tile.score, figure(trial.score ?? (trial.state === "running" ? last : null)));
    say(tile.facts, trial.accuracy == null ? (trial.curve.length ? `after ${trial.curve.length} epochs` : " ") : accuracyAndHealth(trial));
    this.#sparkle(tile, trial);
    const telling = this.head.telling.map((name) => [name, trial.params[this.names.indexOf(name)]]).filter(([, value]) => value != null);
    tile.params.replaceChildren(...telling.flatMap(([name, value]) => [make("dt", { title: name }, name.replaceAll("_", " ")), make("dd", { title: sayValue(value) }, sayValue(value))]));
    const wrong = trial.state === "failed" || trial.state === "infeasible";
    tile.params.hidden = wrong && Boolean(trial.reason);
    say(tile.note, wrong ? trial.reason : "");
    tile.button.disabled = trial.number == null;
    tile.button.title = trial.number == null ? "Details are there when the trial has ended." : "";
    tile.button.setAttribute("aria-label", `View details of ${nameOf(trial)}`);
  }

  #sparkle(tile, trial) {
    const values = trial.curve.map(([, validation]) => validation).filter((value) => value != null);
    tile.spark.style.visibility = values.length > 1 ? "visible" : "hidden";
    if (values.length < 2) return;
    const low = Math.min(...values), high = Math.max(...values, low + 1e-6);
    const path = values.map((value, at) => `${((at / (values.length - 1)) * 98 + 1).toFixed(1)} ${(22 - ((value - low) / (high - low)) * 20).toFixed(1)}`);
    tile.line.setAttribute("d", `M${path.join("L")}`);
  }
}
