// Toolbar, caption, legend and details of a model graph, and the player that sends a sample through it.

const SPEEDS = [0.5, 1, 2, 4];
const STEP_MS = 900;
const NARROW = 680;
const CANVAS_PIXELS = 16000; // browsers give up on larger sides
const NO_DATA = "Pass samples to watch one flow through: ModelVisualizer(model, data=data).";

const short = (value) => {
  if (value == null) return "not finite";
  const size = Math.abs(value);
  return value === 0 ? "0" : size >= 1e-3 && size < 1e4 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
};
const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : Math.round(100 * share)}%`;

/** One view: what is chosen, what is shown, and the elements that say it. */
class GraphView {
  /**
   * root: the element around everything. slots: { tools, canvas or null }. get(name): scene, recordings, choices, count,
   * status. send(message): to whom makes scenes and recordings. face(scene, alive): resolves to a face.
   */
  constructor({ root, tools, get, send, face }) {
    Object.assign(this, { root, get, send, makeFace: face });
    Object.assign(this, { mode: get("mode") ?? "type", way: "forward", step: -1, speed: 1, selected: null, compare: null });
    this.asked = new Set(); // samples that are on their way
    this.ended = new AbortController();
    root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys
    this.#build(tools);
    const observer = new ResizeObserver(() => requestAnimationFrame(() => this.#fitWidth()));
    observer.observe(root);
    const themes = new MutationObserver(() => this.#themed());
    for (const element of [document.body, document.documentElement]) themes.observe(element, { attributes: true });
    this.ended.signal.addEventListener("abort", () => (observer.disconnect(), themes.disconnect()));
    document.addEventListener("fullscreenchange", () => this.#fullscreen(), { signal: this.ended.signal });
    root.addEventListener("keydown", (event) => this.#key(event), { signal: this.ended.signal });
  }

  dispose() {
    this.pause();
    this.ended.abort();
    this.face?.dispose();
  }

  get scene() {
    return this.get("scene");
  }

  get recording() {
    return this.get("recordings")[this.sample];
  }

  get other() {
    return this.compare == null ? undefined : this.get("recordings")[this.compare];
  }

  // ---- what changes from outside

  async show() {
    this.pause();
    this.face?.dispose();
    this.face = null;
    const { scene } = this;
    if (!scene.nodes) return;
    const current = () => !this.ended.signal.aborted && this.scene === scene;
    let face;
    try {
      face = await this.makeFace(scene, current);
    } catch (error) {
      if (current()) this.#say(`${error.message} Is its widget extension installed? The model itself, as the last line of a cell, is drawn without.`);
      return;
    }
    if (!face) return;
    if (!current()) return void face.dispose(); // another scene came in between
    this.face = face;
    this.dark = isDark(this.root);
    this.root.classList.toggle("hpoviz-dark", this.dark);
    this.face.paint(this.mode, this.dark);
    this.face.onSelect((id) => {
      this.select(id);
      this.panel.focus({ preventScroll: true }); // so that the keys are ours
    });
    this.face.onOpen((id) => this.#toggle(id));
    this.face.start();
    if (!this.#node(this.selected)) this.selected = null;
    if (this.selected) {
      this.face.select(this.selected);
      this.face.reveal([this.selected]);
    }
    this.step = Math.min(this.step, scene.steps.length - 1);
    this.controls.blocks.hidden = !scene.openable;
    this.controls.blocks.textContent = scene.closed.length ? "Open all" : "Close blocks";
    this.controls.blocks.setAttribute("aria-label", this.controls.blocks.textContent);
    this.controls.layers.replaceChildren(...scene.nodes.map((node) => make("option", { value: this.#title(node) })));
    this.controls.modes.replaceChildren(
      ...scene.modes.map((mode) => make("option", { value: mode, selected: mode === this.mode }, mode)),
    );
    this.render();
    this.root.dataset.ready = scene.serial;
    this.#fitWidth();
    if (this.get("count") && !this.get("choices").length) {
      this.#say("Sending samples through the model …");
      this.send({ kind: "begin" });
    }
  }

  /** Take new recordings and choices. */
  recorded() {
    this.#fillSamples();
    for (const sample of [this.sample, this.compare]) {
      const lost = sample != null && this.get("choices").length && !this.get("recordings")[sample];
      if (lost && !this.asked.has(sample)) this.#want(sample); // only some are kept
    }
    for (const sample of Object.keys(this.get("recordings"))) this.asked.delete(Number(sample));
    if (this.waiting && this.recording) {
      const { waiting } = this;
      this.waiting = null;
      this.play(waiting);
    } else this.render();
  }

  // ---- building

  #build(tools) {
    const button = (name, label, title, action, extra = {}) =>
      make("button", { type: "button", class: `hpoviz-${name}`, title, "aria-label": `${label} ${title}`, onclick: action, ...extra }, label);
    const labelled = (text, element) => {
      element.setAttribute("aria-label", text);
      return make("label", {}, make("span", { "aria-hidden": "true" }, text), element);
    };
    const c = (this.controls = {});
    c.samples = make("select", { onchange: () => this.choose(c.samples.value) });
    c.compare = make("select", { onchange: () => this.chooseOther(c.compare.value) });
    c.modes = make("select", { onchange: () => this.#colour(c.modes.value) });
    c.layers = make("datalist", { id: `hpoviz-layers-${Math.random().toString(36).slice(2)}` });
    c.search = make("input", {
      type: "search", list: c.layers.id, placeholder: "layer …", autocomplete: "off", onchange: () => this.#search(),
      onkeydown: (event) => event.key === "Enter" && this.#search(),
    });
    c.slider = make("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step", oninput: () => this.go(Number(c.slider.value)) });
    c.speed = make(
      "select", { onchange: () => (this.speed = Number(c.speed.value)) },
      ...SPEEDS.map((speed) => make("option", { value: speed, selected: speed === 1 }, `${speed}×`)),
    );
    c.forward = button("forward", "▶ Forward", "Play what flows forward", () => this.play("forward"));
    c.backward = button("backward", "◀ Backward", "Play the gradients that flow back", () => this.play("backward"));
    c.pause = button("pause", "❚❚", "Pause", () => this.pause(), { disabled: true });
    c.back = button("step-back", "−1", "One step back", () => this.move(-1));
    c.next = button("step-on", "+1", "One step on", () => this.move(1));
    c.clear = button("clear", "✕", "End the animation", () => this.clear(), { disabled: true });
    c.blocks = button("blocks", "Open all", "Open or close the blocks", () => this.#allBlocks());
    this.players = [c.forward, c.backward, c.back, c.next];
    const player = make(
      "div", { class: "hpoviz-bar", role: "toolbar", "aria-label": "Animation" },
      c.forward, c.backward, c.pause, c.back, c.next, c.slider, labelled("speed", c.speed), c.clear,
      labelled("sample", c.samples), labelled("compare with", c.compare),
    );
    const view = make(
      "div", { class: "hpoviz-bar", role: "toolbar", "aria-label": "View" },
      labelled("colours", c.modes), labelled("find", c.search), c.layers, c.blocks,
      button("fit", "Fit", "Show all of the graph", () => this.face?.fit()),
      button("start", "100%", "Back to the top, at a size that can be read", () => this.face?.start()),
      button("larger", "+", "Larger", () => this.face?.zoom(1.25)),
      button("smaller", "−", "Smaller", () => this.face?.zoom(0.8)),
      button("svg", "SVG", "Save the drawing as SVG", () => this.saveSvg()),
      button("png", "PNG", "Save the drawing as PNG", () => this.savePng()),
      button("full", "Full", "Full screen", () => this.#toggleFullscreen()),
    );
    this.caption = make("div", { class: "hpoviz-caption", role: "status", "aria-live": "polite" });
    this.legend = make("div", { class: "hpoviz-legend" });
    this.panel = make("div", { class: "hpoviz-panel", role: "region", "aria-label": "Details", tabindex: "0" });
    tools.append(make("div", { class: "hpoviz-bars" }, player, view), this.caption, this.legend, this.panel);
    this.#fillSamples();
  }

  #fillSamples() {
    const { samples, compare } = this.controls;
    const choices = this.get("choices"), count = this.get("count");
    if (this.sample == null) this.sample = this.get("sample") ?? choices[0]?.index ?? null;
    const recorded = this.get("recordings");
    const known = new Map(choices.map((one) => [one.index, one]));
    for (const [index, one] of Object.entries(recorded)) known.set(Number(index), one.caption);
    const option = (one, chosen) => make("option", { value: one.index, selected: one.index === chosen }, this.#choice(one));
    const more = () => (this.fixed || count <= known.size ? [] : [make("option", { value: "other" }, "another one …")]);
    const ordered = [...known.values()].sort((a, b) => a.index - b.index);
    samples.replaceChildren(...ordered.map((one) => option(one, this.sample)), ...more());
    compare.replaceChildren(
      make("option", { value: "" }, "none"), ...ordered.filter((one) => one.index !== this.sample).map((one) => option(one, this.compare)),
    );
    const title = count ? "" : NO_DATA;
    for (const control of [...this.players, samples, compare, this.controls.slider]) {
      control.disabled = !count;
      if (title) control.title = title;
      if (control.matches("select") && !choices.length) control.disabled = true;
    }
  }

  #choice(one) {
    const share = one.share == null ? "" : ` (${percent(one.share)})`;
    if (one.right == null) return `${one.index}: ${one.label ?? one.predicted ?? "sample"}${one.label == null ? share : ""}`;
    return one.right ? `${one.index}: ✓ ${one.label}${share}` : `${one.index}: ✗ ${one.label}, taken for ${one.predicted}${share}`;
  }

  // ---- what people do

  choose(value) {
    this.pause();
    this.sample = value === "other" ? Math.floor(Math.random() * this.get("count")) : Number(value);
    if (this.compare === this.sample) this.compare = null;
    this.#want(this.sample);
  }

  chooseOther(value) {
    this.compare = value === "" ? null : Number(value);
    if (this.compare == null) this.render();
    else this.#want(this.compare);
  }

  /** See to it that a sample is recorded, then show it. */
  #want(sample) {
    if (!this.get("count")) return this.#say(NO_DATA);
    if (sample == null) return this.#say("Sending samples through the model …");
    if (this.get("recordings")[sample]) return this.recorded();
    this.asked.add(sample);
    this.#say(`Sending sample ${sample} through the model …`);
    this.send({ kind: "record", sample });
    return this.#fillSamples();
  }

  play(way) {
    if (!this.recording) {
      this.waiting = way;
      return this.#want(this.sample);
    }
    if (way === "backward" && !this.recording.backward) {
      return this.#say("Nothing flows back: this sample has no label, so there is no loss.");
    }
    const last = this.scene.steps.length - 1;
    const atEnd = way === "forward" ? this.step >= last : this.step <= 0;
    if (way !== this.way || this.step < 0 || atEnd) this.step = way === "forward" ? 0 : last;
    this.way = way;
    this.playing = true;
    this.render();
    return this.#later();
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const last = this.scene.steps.length - 1;
      const next = this.step + (this.way === "forward" ? 1 : -1);
      if (next < 0 || next > last) return this.pause();
      this.step = next;
      this.render();
      return this.#later();
    }, STEP_MS / this.speed);
  }

  pause() {
    clearTimeout(this.timer);
    if (this.playing) {
      this.playing = false;
      this.render();
    }
  }

  /** A step on or back in the direction of play. */
  move(by) {
    const last = this.scene.steps.length - 1, sign = this.way === "forward" ? by : -by;
    const from = this.step < 0 ? (this.way === "forward" ? -1 : last + 1) : this.step;
    this.go(Math.min(Math.max(from + sign, 0), last));
  }

  go(step) {
    this.pause();
    if (!this.recording) return this.#want(this.sample);
    this.step = step;
    return this.render();
  }

  clear() {
    this.pause();
    this.step = -1;
    this.way = "forward";
    this.render();
  }

  select(id) {
    this.selected = id;
    this.face?.select(id);
    this.#details();
  }

  #search() {
    const wanted = this.controls.search.value.trim().toLowerCase();
    if (!wanted) return;
    const titles = this.scene.nodes.map((node) => [node, this.#title(node).toLowerCase()]);
    const [node] = titles.find(([, title]) => title === wanted) ?? titles.find(([, title]) => title.includes(wanted)) ?? [];
    if (!node) return void this.#say(`No layer here is called ${this.controls.search.value}.`);
    this.select(node.id);
    this.face?.reveal([node.id]);
    this.#say(`${this.#title(node)} is chosen.`);
  }

  #toggle(id) {
    if (this.#node(id)?.container) this.send({ kind: "toggle", node: id });
  }

  #allBlocks() {
    this.#say("Drawing …");
    this.send({ kind: this.scene.closed.length ? "open" : "close" });
  }

  #colour(mode) {
    this.mode = mode;
    this.face?.paint(mode, this.dark);
    this.render();
  }

  #key(event) {
    if (event.target.matches("input, select, button, summary")) return;
    const actions = {
      " ": () => (this.playing ? this.pause() : this.play(this.way)),
      ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1),
      ArrowDown: () => this.#beside(1), ArrowUp: () => this.#beside(-1),
      Escape: () => this.select(null), Enter: () => this.selected && this.#toggle(this.selected),
    };
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  /** Choose the node after or before the chosen one. */
  #beside(by) {
    const nodes = this.scene.nodes;
    const at = nodes.findIndex((node) => node.id === this.selected);
    const next = nodes[at < 0 ? (by > 0 ? 0 : nodes.length - 1) : Math.min(Math.max(at + by, 0), nodes.length - 1)];
    this.select(next.id);
    this.face?.reveal([next.id]);
    this.#say(`${this.#title(next)}: ${next.facts}`);
  }

  // ---- files

  drawing() {
    const face = new SvgFace(make("div"), this.scene);
    face.selected = null;
    face.paint(this.mode, this.dark);
    face.frame(this.#state());
    return face;
  }

  saveSvg() {
    this.#save(new Blob([this.drawing().file()], { type: "image/svg+xml" }), "svg");
  }

  async savePng() {
    const face = this.drawing();
    const scale = Math.min(2, CANVAS_PIXELS / Math.max(...face.size));
    const picture = new Image();
    picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(face.file());
    try {
      await picture.decode();
    } catch (error) {
      return this.#say(`The browser cannot draw it as PNG: ${error.message}`);
    }
    const canvas = make("canvas", { width: Math.ceil(face.size[0] * scale), height: Math.ceil(face.size[1] * scale) });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas.toBlob((blob) => (blob ? this.#save(blob, "png") : this.#say("The drawing is too large for a PNG here.")));
  }

  #save(blob, suffix) {
    const href = URL.createObjectURL(blob);
    const name = this.scene.name.replace(/[^\w.-]+/g, "_").slice(0, 60) || "model";
    make("a", { href, download: `${name}.${suffix}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000);
    this.#say(`Saved as ${name}.${suffix}.`);
  }

  // ---- the screen

  #toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch((error) => this.#say(`Full screen is not allowed here: ${error.message}`));
  }

  #fullscreen() {
    const full = document.fullscreenElement === this.root;
    if (full === this.root.classList.contains("hpoviz-full")) return; // another graph's
    this.root.classList.toggle("hpoviz-full", full);
    setTimeout(() => this.face?.start(), 100);
  }

  #fitWidth() {
    const width = this.root.clientWidth;
    if (!width || this.ended.signal.aborted) return;
    const narrow = width < NARROW;
    this.root.classList.toggle("hpoviz-narrow", narrow);
    if (width !== this.width && this.face) this.face.start();
    this.width = width;
    if (narrow && this.scene.direction === "right" && !this.turned && !this.fixed) {
      this.turned = true;
      this.send({ kind: "direction", direction: "down" });
    }
  }

  #themed() {
    const dark = isDark(this.root);
    if (dark === this.dark || !this.face) return;
    this.dark = dark;
    this.root.classList.toggle("hpoviz-dark", dark);
    this.face.paint(this.mode, dark);
    this.render();
  }

  #say(text) {
    this.caption.textContent = text;
  }

  status() {
    if (this.get("status")) this.#say(this.get("status"));
  }

  // ---- what a step shows

  #node(id) {
    return this.scene.nodes?.find((node) => node.id === id);
  }

  #title(node) {
    const type = node.details[0][1];
    return node.name === type ? type : `${node.name} (${type})`;
  }

  #tensor(recording, place) {
    return place && recording?.tensors[place[0]]?.[place[1]];
  }

  #said(node, recording) {
    const tensor = this.#tensor(recording, node.tensor);
    if (!tensor) return "no numbers";
    if (this.way === "forward" && node.kind === "output" && recording.caption.share != null) {
      const { predicted, share } = recording.caption;
      return `${predicted.length > 12 ? `${predicted.slice(0, 11)}…` : predicted} ${percent(share)}`;
    }
    return tensor[this.way];
  }

  /** What the faces show now; null at rest. */
  #state() {
    const { recording, other, scene, step, way } = this;
    if (!recording || step < 0) return null;
    const place = new Map(scene.steps.flatMap((ids, at) => ids.map((id) => [id, at])));
    const reached = (id) => (way === "forward" ? place.get(id) <= step : place.get(id) >= step);
    const nodes = {}, edges = {};
    for (const node of scene.nodes) {
      if (node.container === "open") continue;
      if (!reached(node.id)) {
        nodes[node.id] = { dim: true };
        continue;
      }
      const tensor = this.#tensor(recording, node.tensor);
      const note = other ? `${this.#brief(node, recording)} | ${this.#brief(node, other)}` : this.#said(node, recording);
      const colour = way === "forward" ? tensor?.colour : tensor?.line;
      nodes[node.id] = { colour, note, active: place.get(node.id) === step };
    }
    for (const edge of scene.edges) {
      const tensor = this.#tensor(recording, edge.tensor);
      if (!tensor || !reached(edge.source) || !reached(edge.target)) continue;
      if (way === "forward") edges[edge.id] = { colour: tensor.colour, width: place.get(edge.target) === step ? 4 : 2 };
      else if (tensor.line) {
        edges[edge.id] = { colour: tensor.line, width: tensor.width, label: tensor.backward };
      }
    }
    return { nodes, edges };
  }

  #brief(node, recording) {
    const tensor = this.#tensor(recording, node.tensor);
    if (!tensor) return "–";
    return short(this.way === "forward" ? tensor.strength : tensor.gradient);
  }

  render() {
    const { scene, recording, step } = this;
    if (!this.face) return;
    const state = this.#state(), c = this.controls;
    this.face.frame(state);
    c.slider.max = scene.steps.length - 1;
    c.slider.value = this.way === "forward" ? Math.max(step, 0) : step;
    c.pause.disabled = !this.playing;
    c.clear.disabled = step < 0;
    for (const [way, control] of [["forward", c.forward], ["backward", c.backward]]) {
      control.setAttribute("aria-pressed", String(Boolean(state) && this.way === way));
    }
    this.root.dataset.step = state ? `${this.way} ${step + 1}` : "";
    if (state) {
      const ids = scene.steps[step];
      if (this.playing || this.step !== this.revealed) this.face.reveal(ids);
      this.revealed = step;
      const words = ids.slice(0, 3).map((id) => `${this.#title(this.#node(id))}: ${this.#words(this.#node(id))}`);
      const more = ids.length > 3 ? ` and ${ids.length - 3} more` : "";
      this.#say(`${this.way === "forward" ? "Forward" : "Backward"}, step ${step + 1} of ${scene.steps.length}. ${words.join(" · ")}${more}`);
    } else if (this.get("status")) this.status();
    else if (recording) this.#say(this.#sampleLine(recording));
    else this.#say(this.get("count") ? "Sending samples through the model …" : NO_DATA);
    this.#legend(state);
    this.#details();
  }

  #words(node) {
    const tensor = this.#tensor(this.recording, node.tensor);
    if (!tensor) return "no numbers";
    if (this.way === "backward") {
      const mark = tensor.mark ? `, ${tensor.mark}` : "";
      return tensor.gradient == null && !mark ? "the loss does not depend on it" : `gradient norm ${short(tensor.gradient)}${mark}`;
    }
    return `mean |activation| ${short(tensor.strength)}, ${percent(tensor.silent)} of units silent`;
  }

  #sampleLine(recording) {
    const { caption } = recording, parts = [`Sample ${caption.index}`];
    if (caption.label != null) parts.push(`label ${caption.label}`);
    if (caption.predicted != null) parts.push(`the model says ${caption.predicted}${caption.share == null ? "" : ` (${percent(caption.share)})`}`);
    if (recording.backward) parts.push(`loss ${short(recording.loss)}`);
    parts.push(recording.training ? "as in training" : "as in use (inference)");
    return parts.join(" · ");
  }

  #legend(state) {
    const { scene, recording } = this;
    const chip = (kind) => {
      const colour = kind.colours[this.dark ? 1 : 0];
      const letter = make("b", { style: `background:${colour};color:${inkOn(colour)}` }, kind.letter);
      return make("span", { class: "hpoviz-chip" }, letter, kind.name);
    };
    const bar = (title, low, high, colours) => make(
      "span", { class: "hpoviz-chip" }, title, make("small", {}, low),
      make("i", { style: `background:linear-gradient(to right, ${colours.join(",")})` }), make("small", {}, high),
    );
    const parts = [];
    if (state && this.way === "forward") {
      parts.push(bar("mean |activation|", short(recording.range[0]), short(recording.range[1]), scene.scale));
      parts.push(make("span", {}, "silent: units that give nothing for this sample"));
    } else if (state) {
      parts.push(bar("gradient norm, beside the median", "a thousandth", "a thousandfold", scene.two_sided));
      parts.push(make("span", {}, `median ${short(recording.middle)}; thicker is larger`));
    } else if (scene.scales[this.mode]) {
      const [low, high, title] = scene.scales[this.mode];
      parts.push(bar(title, low, high, scene.scale));
    } else parts.push(...scene.kinds.map(chip));
    this.legend.replaceChildren(...parts);
  }

  // ---- details

  #details() {
    const node = this.#node(this.selected);
    const inside = this.panel.contains(document.activeElement);
    this.panel.replaceChildren(...(node ? this.#nodeDetails(node) : this.#sampleDetails()));
    if (inside) this.panel.focus({ preventScroll: true });
  }

  #nodeDetails(node) {
    const rows = (pairs) => make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
    const close = make("button", { type: "button", class: "hpoviz-close", "aria-label": "Close the details", onclick: () => this.select(null) }, "✕");
    const parts = [make("h4", {}, node.name, close)];
    if (node.container) {
      const label = node.container === "open" ? "Close this block" : "Open this block";
      if (!this.fixed) parts.push(make("button", { type: "button", class: "hpoviz-open", onclick: () => this.#toggle(node.id) }, label));
    }
    if (node.findings.length) {
      parts.push(make("h5", {}, "Health"), make("ul", {}, ...node.findings.map((text) => make("li", {}, `⚠ ${text}`))));
    }
    for (const recording of [this.recording, this.other].filter(Boolean)) parts.push(...this.#inSample(node, recording, rows));
    parts.push(make("h5", {}, "Layer"), rows(node.details));
    if (node.histogram) parts.push(...this.#histogram(node.histogram));
    return parts;
  }

  #inSample(node, recording, rows) {
    const tensor = this.#tensor(recording, node.tensor);
    if (!tensor) return [];
    const pairs = [
      ["mean |activation|", short(tensor.strength)], ["silent units", percent(tensor.silent)],
      ["mean ± std", `${short(tensor.mean)} ± ${short(tensor.std)}`], ["range", `${short(tensor.minimum)} to ${short(tensor.maximum)}`],
    ];
    if (recording.backward) {
      pairs.push(["gradient norm", tensor.gradient == null ? (tensor.mark || "none: the loss does not depend on it") : `${short(tensor.gradient)} ${tensor.mark}`]);
    }
    if (tensor.finite < 1) pairs.push(["finite", percent(tensor.finite)]);
    const parts = [make("h5", {}, `In sample ${recording.caption.index}`), rows(pairs)];
    if (node.kind === "output") parts.push(this.#probabilities(recording));
    const maps = recording.maps[node.tensor[0]];
    if (maps && node.kind !== "output") parts.push(this.#maps(maps));
    return parts;
  }

  #maps(maps) {
    const [count, rows, columns] = maps.shape;
    const levels = Uint8Array.from(atob(maps.levels), (letter) => letter.charCodeAt(0));
    const palette = this.scene.scale.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
    const figure = make("figure", { class: `hpoviz-maps hpoviz-${maps.kind}` });
    for (let map = 0; map < count; map += 1) {
      const what = maps.kind === "image" ? `channel ${maps.channels[map]}` : maps.kind === "sequence" ? "time (down) by unit" : "units";
      const canvas = make("canvas", { width: columns, height: rows, role: "img", title: what, "aria-label": `Activations, ${what}` });
      const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
      for (let at = 0; at < rows * columns; at += 1) {
        const level = (levels[map * rows * columns + at] / 255) * (palette.length - 1);
        const low = Math.min(Math.floor(level), palette.length - 2), part = level - low;
        for (let i = 0; i < 3; i += 1) pixels.data[4 * at + i] = palette[low][i] * (1 - part) + palette[low + 1][i] * part;
        pixels.data[4 * at + 3] = 255;
      }
      context.putImageData(pixels, 0, 0);
      figure.append(canvas);
    }
    const of = maps.kind === "image" ? "strongest channels" : maps.kind === "sequence" ? "time (down) by unit" : "units";
    figure.append(make("figcaption", {}, `${of}: ${short(maps.low)} (dark) to ${short(maps.high)} (bright)`));
    return figure;
  }

  #probabilities(recording) {
    const values = recording.shares ?? [];
    const ranked = values.map((value, at) => [value, at]).sort((a, b) => b[0] - a[0]).slice(0, 5);
    return make("div", { class: "hpoviz-shares" }, ...ranked.map(([value, at]) => {
      const name = recording.caption.classes[at] ?? String(at);
      return make("div", {}, make("span", {}, `${name} ${percent(value)}`), make("meter", { min: 0, max: 1, value, "aria-label": name }));
    }));
  }

  #histogram(histogram) {
    const most = Math.max(...histogram.counts, 1);
    const bars = histogram.counts.map((count) => make("i", { style: `height:${(100 * count) / most}%`, title: String(count) }));
    const of = histogram.values < histogram.of ? `${histogram.values.toLocaleString("en")} of ${histogram.of.toLocaleString("en")} weights` : `${histogram.of.toLocaleString("en")} weights`;
    const spread = histogram.mean == null ? "none is finite" : `mean ${short(histogram.mean)}, std ${short(histogram.std)}`;
    const ends = make("small", {}, make("span", {}, short(histogram.low)), make("span", {}, short(histogram.high)));
    return [
      make("h5", {}, "Weights"),
      make("div", { class: "hpoviz-histogram", role: "img", "aria-label": `Histogram of ${of}, ${spread}` }, ...bars), ends,
      make("p", {}, `${of}: ${spread}${histogram.finite < 1 ? `, ${percent(histogram.finite)} finite` : ""}`),
    ];
  }

  #sampleDetails() {
    const parts = [];
    for (const recording of [this.recording, this.other].filter(Boolean)) {
      const { caption } = recording;
      parts.push(make("h4", {}, `Sample ${caption.index}`));
      if (caption.picture) parts.push(make("img", { src: caption.picture, alt: `sample ${caption.index}` }));
      if (caption.text) parts.push(make("blockquote", {}, caption.text));
      parts.push(make("p", {}, this.#sampleLine(recording)));
      if (recording.shares) parts.push(this.#probabilities(recording));
    }
    const { findings } = this.scene;
    if (findings.length) parts.push(make("h5", {}, "Health of the model"), make("ul", {}, ...findings.map((text) => make("li", {}, `⚠ ${text}`))));
    parts.push(make("p", { class: "hpoviz-hint" }, "Click a layer, or find it by its name, to see what it is made of. Arrow up and down go from layer to layer, left and right step by step; space plays."));
    return parts;
  }
}

/** The widget: beside an ipycytoscape view in the same box. */
function render({ model, el }) {
  el.classList.add("hpoviz-graph-tools");
  let view, ended = false;
  const attach = () => {
    if (ended) return;
    const root = el.closest(".hpoviz-graph");
    if (!root) return void requestAnimationFrame(attach); // not on the page yet
    view = new GraphView({
      root, tools: el, get: (name) => model.get(name), send: (message) => model.send(message),
      face: (scene, alive) => CytoscapeFace.find(root, scene, alive),
    });
    root.hpovizView = view;
    view.show();
  };
  const listeners = {
    "change:scene": () => view?.show(), "change:recordings": () => view?.recorded(),
    "change:choices": () => view?.recorded(), "change:status": () => view?.status(),
    "change:sample": () => view?.choose(model.get("sample")),
  };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  attach();
  return () => {
    ended = true;
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    view?.dispose();
  };
}

/** A page of its own: the same view over the kernel's drawing, with everything that it may be asked for. */
function mountPage(root, page) {
  const canvas = make("div", { class: "hpoviz-graph-canvas", tabindex: "0", role: "group", "aria-label": page.description });
  const tools = make("div", { class: "hpoviz-graph-tools" });
  root.append(tools, canvas);
  const state = { ...page, scene: page.scenes[0] };
  const view = new GraphView({
    root, tools, get: (name) => state[name],
    send: (message) => {
      if (message.kind === "open" || message.kind === "close") {
        const wanted = page.scenes.find((scene) => Boolean(scene.closed.length) === (message.kind === "close"));
        state.scene = wanted ?? state.scene;
        view.show();
      }
    },
    face: async (scene) => new SvgFace(canvas, scene),
  });
  view.fixed = true;
  root.hpovizView = view;
  view.recorded();
  view.show();
}

export default { render };
