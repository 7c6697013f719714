// The dashboard: a copy of the run that the kernel keeps up to date, and everything that shows and steers it.

const ANSWER_MS = 2500; // a kernel that has not answered by then is busy with a cell
const HEARD_MS = 1000; // by then a kernel that can hear Stop beside a cell has said that it has
const INTERRUPT_MS = 5000; // by then a server that can interrupt a kernel has done so
const MOST_CURVES = 8;
const ACCURACY_LINK = "https://www.tensorflow.org/api_docs/python/tf/keras/metrics/CategoricalAccuracy";
const BUSY = "The kernel has not answered yet: it is busy with a cell.";
const LATER = `${BUSY} It does this when that cell has ended.`;
const INTERRUPT = `${BUSY} The cell waits for this search: interrupt the kernel (■ in the toolbar, or Kernel ▸ Interrupt), which stops the search cleanly.`;
const RESTARTED = "The kernel was restarted: run this cell again.";
const HELP = {
  data: [
    ["MNIST", "https://keras.io/api/datasets/mnist/", "handwritten digits 0–9"],
    ["CIFAR-10", "https://keras.io/api/datasets/cifar10/", "colour images"],
    ["CIFAR-100", "https://keras.io/api/datasets/cifar100/", "colour images"],
    ["Fashion-MNIST", "https://keras.io/api/datasets/fashion_mnist/", "greyscale images"],
    ["GTSRB", "https://www.kaggle.com/datasets/meowmeowmeowmeowmeow/gtsrb-german-traffic-sign", "colour images"],
    ["IMDB", "https://keras.io/api/datasets/imdb/", "text"],
    ["Reuters", "https://keras.io/api/datasets/reuters/", "text"],
  ],
  objective: [
    "accuracy: the share of validation samples that a model gets right. The first thing to look at, and blind to how the model does it.",
    "health: accuracy, weighed together with six figures from inside the model: dead units, fading gradients, restless training and more. It says why a model is good or bad, and of two models that are right equally often it prefers the one without faults. It does not promise more accuracy.",
    "pareto: accuracy, health and size, none before the others: you see every trial that no other one beats.",
  ],
};
const words = (name) => name.replaceAll("_", " ");
const link = (text, address) => make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text);

/** The browser's copy of a run. One for each model, whatever number of cells shows it. */
class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.ui = { order: "score", state: "all", search: "", chosen: new Set(), space: false, differing: false };
    this.waiting = new Map(); // what was asked for and not answered, with the timers of patience
    this.details = new Map();
    this.drawings = new Map();
    this.requests = new Map(); // what was asked for under a key: figures, files
    model.on("change:snapshot", () => (this.#whole(), this.#changed()));
    model.on("change:form", () => (this.#formed(), this.each("formed")));
    model.on("change:notice", () => this.each("noticed"));
    model.on("msg:custom", (message, buffers) => this.#heard(message, buffers));
    this.late = 0; // answers to come to a Stop for which the kernel was interrupted
    this.kernel = model.widget_manager?.kernel; // of JupyterLab and Notebook 7; other hosts give none
    this.restarting = (_, status) => (this.restarted ||= status.endsWith("restarting"));
    this.kernel?.statusChanged?.connect(this.restarting);
    this.#whole();
    this.#formed();
    this.send({ kind: "hello", version: this.version }); // a page that was loaded again has an old copy
  }

  dispose() {
    this.kernel?.statusChanged?.disconnect(this.restarting);
  }

  send(message) {
    this.model.send(message);
  }

  /** Stop the search; where a cell with run() waits and the kernel does not hear beside it, by an interrupt of that cell. */
  stop() {
    const cell = this.get("run_cell");
    this.ask("stop", { cell }, cell ? HEARD_MS : ANSWER_MS, () => this.#interrupt(cell));
  }

  #interrupt(cell) {
    if (!cell || cell !== this.get("run_cell") || this.restarted) return this.#unheard();
    if (!this.kernel?.interrupt) return this.each("noticed", INTERRUPT);
    this.waiting.delete("stop"); // another run() may wait before the kernel takes the message
    this.late += 1;
    this.stopping = true;
    this.#changed();
    const interrupted = new Promise((resolve) => resolve(this.kernel.interrupt()));
    const silent = new Promise((_, reject) => setTimeout(reject, INTERRUPT_MS));
    Promise.race([interrupted, silent]).catch(() => {
      this.stopping = false;
      this.each("noticed", INTERRUPT);
      this.#changed();
    });
  }

  #unheard() {
    this.each("noticed", this.restarted ? RESTARTED : LATER);
  }

  /** Ask for something that is answered; a kernel that does not answer is spoken of. */
  ask(kind, content = {}, patience = ANSWER_MS, unheard = () => this.#unheard()) {
    if (this.waiting.has(kind)) return;
    this.waiting.set(kind, setTimeout(unheard, patience));
    this.send({ kind, ...content });
    this.each("waited");
  }

  /** Ask for something that comes in one or more messages with the same key; gives them with their buffers. */
  request(kind, content = {}, part = () => {}) {
    const key = `${kind} ${Math.random().toString(36).slice(2)}`;
    return new Promise((resolve, reject) => {
      this.requests.set(key, { got: [], resolve, reject, part });
      this.send({ kind, key, ...content });
    });
  }

  #came(message, buffers) {
    const request = this.requests.get(message.key), parts = message.parts ?? 1;
    request.got.push([message, buffers ?? []]);
    request.part(message);
    if (!message.problem && request.got.length < parts) return;
    this.requests.delete(message.key);
    message.problem ? request.reject(new Error(message.problem)) : request.resolve(request.got);
  }

  #answered({ to, well }) {
    if (to === "stop" && this.late) return void (this.late -= 1);
    clearTimeout(this.waiting.get(to));
    this.waiting.delete(to);
    this.stopping = to === "stop" ? well && this.head.running : this.stopping;
    if (to === "choose" && !well) this.draft.data = this.get("form").data; // what is shown is still of these
    this.each("noticed");
    if (to === "choose" && !well) this.each("formed");
    this.each("waited");
    this.#changed();
  }

  get(name) {
    return this.model.get(name);
  }

  each(method, ...values) {
    for (const view of this.views) view[method](...values);
  }

  #whole() {
    const { version, head, names, trials } = this.get("snapshot");
    Object.assign(this, { version, head, names, trials: new Map(trials.map((trial) => [trial.id, trial])), missed: false });
  }

  #formed() {
    this.draft = draftOf(this.get("form"));
  }

  #heard(message, buffers) {
    if (this.requests.has(message.key)) return this.#came(message, buffers);
    if (message.kind === "change") {
      if (message.from > this.version) {
        if (!this.missed) this.send({ kind: "hello", version: this.version });
        this.missed = true; // until everything has come
        return;
      }
      if (message.to <= this.version) return;
      Object.assign(this, { version: message.to, head: message.head, names: message.names });
      for (const trial of message.trials) this.trials.set(trial.id, trial);
      this.#changed();
    } else if (message.kind === "details") {
      this.details.set(message.id, message);
      this.each("detailed", message.id);
    } else if (message.kind === "architecture") {
      this.drawings.set(message.id, message);
      this.each("detailed", message.id);
    } else if (message.kind === "heard") {
      clearTimeout(this.waiting.get(message.to)); // it is at work
    } else if (message.kind === "answered") {
      this.#answered(message);
    }
  }

  #changed() {
    if (!this.head.running) this.stopping = false;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.each("changed");
    });
  }
}

/** What is filled in, as the kernel takes it. */
function draftOf(form) {
  const { data, objective, trials, epochs, workers, backend, seed, runpod } = form;
  const weights = form.weights && { parts: { ...form.weights.parts }, metrics: { ...form.weights.metrics } };
  return { data, objective, trials, epochs, workers, backend, seed, weights, runpod: Boolean(runpod?.on), space: Object.fromEntries((form.space ?? []).map((row) => [row.name, row.now])) };
}

/** One view of a store: everything in one element. */
class DashboardView {
  constructor(store, root) {
    Object.assign(this, { store, root, ended: new AbortController(), uid: Math.random().toString(36).slice(2) });
    root.className = "hpoviz-dash";
    root.dataset.lmSuppressShortcuts = "true"; // keys are for what is focused here
    this.#build();
    const sizes = new ResizeObserver(() => requestAnimationFrame(() => this.changed()));
    sizes.observe(this.live);
    const themes = new MutationObserver(() => this.#themed());
    for (const element of [document.body, document.documentElement]) themes.observe(element, { attributes: true });
    this.ended.signal.addEventListener("abort", () => (sizes.disconnect(), themes.disconnect()));
    store.views.add(this);
    this.#themed();
    this.formed();
    this.noticed();
    this.changed();
    this.reopen();
    root.dataset.ready = "true";
  }

  dispose() {
    this.ended.abort();
    this.figures.dispose();
    this.store.views.delete(this);
    if (this.store.open?.view !== this) return;
    this.store.open.view = null; // the cell is drawn anew: what was open opens there
    [...this.store.views].filter((view) => view.root.isConnected).at(-1)?.reopen();
  }

  /** Open what was open in a view that is no more. */
  reopen() {
    const { open } = this.store;
    if (open && !open.view) open.id == null ? this.compare() : this.openDetails(open.id);
  }

  // ---- what is there

  #build() {
    const frame = this.store.get("frame");
    const logo = frame.logo ? make("img", { src: frame.logo, alt: "", class: "hp-logo" }) : null;
    this.phase = make("span", { class: "hp-phase", role: "status" });
    this.start = make("button", { type: "button", class: "hp-main", onclick: () => this.#start() }, "▶ Start");
    this.stop = make("button", { type: "button", onclick: () => this.#stop() }, "■ Stop");
    this.moreCount = make("input", { type: "number", min: 1, step: 1, value: 10, "aria-label": "how many more trials" });
    this.moreButton = make("button", { type: "button", onclick: () => this.#more() }, "More trials");
    this.more = make("span", { class: "hp-more" }, this.moreCount, this.moreButton);
    this.notice = make("div", { class: "hp-notice", role: "alert" });
    this.setup = make("details", { class: "hp-setup" }, make("summary", {}, "Settings"));
    this.tiles = new Tiles();
    this.moved = make("p", { class: "hp-notice", role: "status" });
    this.slots = make("section", { class: "hp-slots", "aria-label": "what every slot does" });
    this.curves = new Chart({ title: "Learning curves (validation accuracy)", x: "epoch", level: "h3" });
    this.history = new Chart({ title: "Optimisation history (score)", x: "trial", level: "h3" });
    const get = () => this.store;
    this.gallery = new Gallery({ get, ui: this.store.ui, open: (id) => this.openDetails(id), compare: () => this.compare() });
    this.figures = new Figures(this);
    this.live = make("div", { class: "hp-live" }, this.tiles.element, this.moved, this.slots,
      make("section", { class: "hp-charts" }, this.curves.element, this.history.element), this.gallery.element, this.figures.element);
    this.dialog = make("dialog", { class: "hp-dialog", "aria-labelledby": `hp-title-${this.uid}` });
    for (const type of ["pointerdown", "click"]) this.dialog.addEventListener(type, (event) => this.#outside(event));
    this.dialog.addEventListener("close", () => this.#closed());
    this.help = make("div", { class: "hp-help", popover: "auto", role: "note", tabindex: "-1" });
    this.help.addEventListener("toggle", ({ newState }) => this.explained?.setAttribute("aria-expanded", newState === "open"));
    const links = frame.links.map(([text, address]) => link(text, address));
    this.root.replaceChildren(
      make("header", { class: "hp-top" }, logo, make("h2", {}, frame.title), this.phase, make("span", { class: "hp-space" }), this.start, this.stop, this.more),
      this.notice, this.setup, this.live, make("footer", {}, ...links), this.dialog, this.help,
    );
  }

  #themed() {
    const dark = isDark(this.root);
    if (dark === this.dark) return;
    this.dark = dark;
    this.root.classList.toggle("hpoviz-dark", dark);
    this.figures.themed();
    requestAnimationFrame(() => this.changed()); // while a theme is being changed nothing has a width
  }

  // ---- what the kernel says

  changed() {
    const { store } = this, { head } = store;
    say(this.phase, store.stopping && head.running ? "stopping …" : head.phase);
    this.phase.dataset.running = head.running;
    this.start.hidden = head.running || (head.begun && head.ended >= head.wanted);
    say(this.start, head.begun ? "▶ Go on" : "▶ Start");
    this.stop.hidden = !head.running;
    this.stop.disabled = store.waiting.has("stop") || Boolean(store.stopping);
    this.more.hidden = head.running || !head.begun;
    this.live.hidden = !head.begun;
    if (this.hadBegun !== head.begun) {
      this.hadBegun = head.begun;
      this.setup.open = !head.begun; // while there is nothing to see, or when asked for
      this.waited();
    }
    if (!head.begun) return;
    this.tiles.show(store);
    this.moved.hidden = !head.notice;
    say(this.moved, head.notice);
    this.#showSlots();
    this.#showCharts();
    this.gallery.render();
    this.figures.changed();
    if (store.open?.view === this && store.open.id == null) this.#fillComparison();
  }

  /** Buttons and fields wait for what was asked for. */
  waited() {
    const { waiting, head } = this.store, beginning = waiting.has("start") || waiting.has("more");
    if (waiting.has("choose") && this.setup.contains(document.activeElement)) this.focused = document.activeElement.dataset.field;
    this.start.disabled = beginning || waiting.has("choose");
    this.moreButton.disabled = beginning;
    const fixed = head.begun || this.store.get("form").begun || beginning || waiting.has("choose");
    for (const control of this.setup.querySelectorAll(":is(input, select, button):not(.hp-q)")) control.disabled = fixed || control.dataset.fixed === "true";
    this.setup.setAttribute("aria-busy", waiting.has("choose"));
  }

  noticed(text = this.store.get("notice").text) {
    this.notice.hidden = !text;
    this.notice.replaceChildren(make("span", {}, text), make("button", {
      type: "button", "aria-label": "dismiss", onclick: () => (this.noticed(""), this.store.send({ kind: "dismiss" })),
    }, "×"));
  }

  formed() {
    const focus = this.focused ?? (this.setup.contains(document.activeElement) ? document.activeElement.dataset.field : null);
    this.focused = null;
    this.setup.querySelector(".hp-form")?.remove();
    this.setup.append(makeForm(this));
    this.waited();
    if (focus) this.setup.querySelector(`[data-field="${CSS.escape(focus)}"]`)?.focus();
  }

  detailed(id) {
    if (this.store.open?.view === this && this.store.open.id === id) this.#fillDetails(id);
  }

  // ---- what people ask for

  #start() {
    this.store.ask("start", { settings: settingsOf(this.store) });
  }

  #stop() {
    this.store.stop();
  }

  #more() {
    this.store.ask("more", { trials: Math.round(Number(this.moreCount.value)) });
  }

  /** Explain something: opaque, above everything, inside the window, closed by Esc or by pressing elsewhere. */
  explain(button, title, ...content) {
    this.help.replaceChildren(make("h4", {}, title), ...content);
    this.explained?.setAttribute("aria-expanded", "false");
    this.explained = button;
    this.help.showPopover();
    this.help.focus({ preventScroll: true });
    this.placeHelp();
  }

  /** Put the explanation beside its button, inside the window: what is in it may come later. */
  placeHelp() {
    if (!this.help.matches(":popover-open")) return;
    const { left, bottom, top } = this.explained.getBoundingClientRect(), { offsetWidth, offsetHeight } = this.help;
    const below = bottom + 6 + offsetHeight <= innerHeight;
    this.help.style.left = `${Math.max(8, Math.min(left - 10, innerWidth - offsetWidth - 8))}px`;
    this.help.style.top = `${Math.max(8, below ? bottom + 6 : Math.min(top - 6 - offsetHeight, innerHeight - offsetHeight - 8))}px`;
  }

  helpButton(title, content) {
    const button = make("button", { type: "button", class: "hp-q", "aria-label": `help: ${title}`, "aria-expanded": "false" }, "?");
    let open = false; // before this press, which closes it
    button.addEventListener("pointerdown", () => (open = this.explained === button && this.help.matches(":popover-open")));
    button.addEventListener("click", () => (open ? (open = false) : this.explain(button, title, ...content())));
    return button;
  }

  openDetails(id) {
    const { store } = this;
    store.open = { view: this, id };
    this.#fillDetails(id);
    if (!this.dialog.open) this.dialog.showModal();
    if (!store.details.get(id)?.params) this.#askFor("details", id);
  }

  /** Ask for something that the dialog shows; a kernel that is busy is spoken of there. */
  #askFor(kind, id) {
    this.store.send({ kind, id });
    setTimeout(() => {
      const waits = this.store.open?.id === id && this.dialog.querySelector(`.hp-waiting[data-for="${kind}"]`);
      if (waits && kind === "details") say(waits, "The kernel is busy with a cell. The rest comes when it has ended.");
      if (waits && kind === "architecture") say(waits, " Loading the model, once the kernel has time: it may be busy with a cell …");
    }, ANSWER_MS);
  }

  showFigures(id) {
    this.dialog.close();
    this.figures.openTrial(id);
  }

  draw(id) {
    this.store.drawings.set(id, { waiting: true });
    this.detailed(id);
    this.#askFor("architecture", id);
  }

  compare() {
    this.store.open = { view: this, id: null };
    this.#fillComparison();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Close when it was pressed and let go outside: selecting text may end there. */
  #outside(event) {
    const { left, right, top, bottom } = this.dialog.getBoundingClientRect();
    const outside = event.target === this.dialog && (event.clientX < left || event.clientX > right || event.clientY < top || event.clientY > bottom);
    if (event.type === "pointerdown") this.pressedOutside = outside;
    else if (outside && this.pressedOutside) this.dialog.close();
  }

  #closed() {
    if (this.store.open?.view === this) this.store.open = null;
    this.filled = null;
    this.dialog.replaceChildren();
  }

  // ---- parts

  #showSlots() {
    const { slots } = this.store.head;
    while (this.slots.children.length < slots.length) {
      const bar = make("div", { class: "hp-fill" });
      const track = make("div", { class: "hp-track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
      const row = make("div", { class: "hp-slot" }, make("strong"), make("span", { class: "hp-doing" }), track, make("span", { class: "hp-figures" }));
      this.slots.append(row);
    }
    [...this.slots.children].forEach((row, at) => {
      const slot = slots[at];
      row.hidden = !slot;
      if (!slot) return;
      const [name, phase, track, figures] = row.children;
      say(name, slot.trial == null ? `slot ${slot.slot + 1}` : `trial id ${slot.trial}`);
      say(phase, slot.phase);
      track.firstChild.style.width = `${100 * slot.fraction}%`;
      track.setAttribute("aria-valuenow", Math.round(100 * slot.fraction));
      track.setAttribute("aria-label", `${name.textContent}: ${slot.phase}`);
      const parts = [];
      if (slot.epochs) parts.push(`epoch ${slot.epoch}/${slot.epochs}`);
      if (slot.batches) parts.push(`batch ${slot.batch}/${slot.batches}`);
      if (slot.accuracy != null) parts.push(`accuracy ${slot.accuracy.toFixed(3)}`);
      if (slot.val_accuracy != null) parts.push(`validation ${slot.val_accuracy.toFixed(3)}`);
      say(figures, parts.join(" · "));
    });
    this.slots.hidden = !slots.length;
  }

  #showCharts() {
    const { head, trials } = this.store, width = Math.floor(this.curves.element.clientWidth);
    if (width < 80) return;
    const running = [...trials.values()].filter((trial) => trial.state === "running").slice(0, MOST_CURVES);
    const best = trials.get(head.best);
    const shown = best ? [best, ...running] : running;
    const key = [width, this.dark, ...shown.map((trial) => `${trial.id}:${trial.curve.length}:${trial.state}`)].join();
    if (key !== this.curvesKey) {
      this.curvesKey = key;
      const series = shown.map((trial) => ({
        name: trial === best ? `★ ${nameOf(trial)}` : nameOf(trial), bold: trial === best, values: trial.curve.map(([, validation]) => validation),
      }));
      drawCurves(this.curves, width, series.filter((one) => one.values.length), this.dark, "Validation accuracy of the running trials and of the best one; the first epoch is not over yet.");
    }
    const across = Math.floor(this.history.element.clientWidth);
    const past = [across, head.ended, head.best, trials.size].join();
    if (past !== this.historyKey) {
      this.historyKey = past;
      drawHistory(this.history, across, [...trials.values()], head.best, "The scores of trials, when the first has ended.");
    }
  }

  #dialogHead(title, note) {
    const close = make("button", { type: "button", class: "hp-close", "aria-label": "close", onclick: () => this.dialog.close() }, "×");
    return make("header", {}, make("h3", { id: `hp-title-${this.uid}` }, title), make("span", { class: "hp-state" }, note), close);
  }

  #fillDetails(id) {
    const trial = this.store.trials.get(id), best = this.store.head.best === id;
    const head = this.#dialogHead(`${nameOf(trial)}${best ? " ★ best" : ""}`, `${GLYPHS[trial.state] ?? "?"} ${trial.state}`);
    this.#fill(`details ${id}`, head, detailsOf(this, trial, this.store.details.get(id)));
  }

  #fillComparison() {
    const trials = [...this.store.ui.chosen].map((id) => this.store.trials.get(id)).filter(Boolean);
    const key = trials.map((trial) => `${trial.id}:${trial.state}`).join(), length = trials.reduce((sum, trial) => sum + trial.curve.length, 0);
    const old = this.dialog.open && this.comparison?.key === key && this.dialog.contains(this.comparison.body);
    if (!old) {
      this.comparison = { key, body: comparisonOf(this, trials) };
      this.#fill("comparison", this.#dialogHead(`Compare ${trials.length} trials`, ""), this.comparison.body);
    } else if (length !== this.comparison.length) this.comparison.body.drawLater[0]();
    this.comparison.length = length;
  }

  /** Put a body into the dialog; the same thing anew keeps its head, which may have the focus, and its place. */
  #fill(what, head, body) {
    const before = this.dialog.querySelector(".hp-body");
    if (before && this.filled === what) {
      const top = before.scrollTop;
      before.replaceWith(body);
      body.scrollTop = top;
    } else this.dialog.replaceChildren(head, body);
    this.filled = what;
    for (const draw of body.drawLater) requestAnimationFrame(draw);
  }
}

/** The figures above everything. */
class Tiles {
  constructor() {
    this.parts = {};
    this.element = make("section", { class: "hp-tiles", "aria-label": "the search in figures" });
    const names = { done: "trials done", running: "running", failed: "failed", pruned: "pruned", best: "best total score", accuracy: "best accuracy", average: "average score", left: "time left" };
    for (const [name, title] of Object.entries(names)) {
      const value = make("strong"), note = make("small");
      this.parts[name] = { value, note };
      this.element.append(make("div", { class: "hp-figure", "data-figure": name }, make("span", {}, title), value, note));
    }
    this.bar = make("div", { class: "hp-fill" });
    this.track = make("div", { class: "hp-track", role: "progressbar", "aria-valuemin": 0, "aria-label": "trials done" }, this.bar);
    this.parts.done.note.replaceWith(this.track);
  }

  #say(name, value, note = "") {
    say(this.parts[name].value, value);
    if (name !== "best" && name !== "done") say(this.parts[name].note, note);
  }

  show({ head, trials }) {
    const of = (name) => head.counts[name] ?? 0;
    this.#say("done", `${head.ended} / ${head.wanted}`);
    this.bar.style.width = `${head.wanted ? (100 * head.ended) / head.wanted : 0}%`;
    this.track.setAttribute("aria-valuemax", head.wanted);
    this.track.setAttribute("aria-valuenow", head.ended);
    this.#say("running", String(of("running")));
    const infeasible = of("infeasible"), cancelled = of("cancelled");
    this.#say("failed", String(of("failed")), [infeasible && `${infeasible} infeasible`, cancelled && `${cancelled} cancelled`].filter(Boolean).join(", "));
    this.#say("pruned", String(of("pruned")));
    const best = trials.get(head.best);
    this.#say("best", figure(best?.score));
    this.#explainScore(head, best);
    const top = head.best_accuracy && trials.get(head.best_accuracy.trial);
    this.#say("accuracy", figure(head.best_accuracy?.value), top ? nameOf(top) : "");
    this.#say("average", figure(head.average), head.average == null ? "" : "of finished trials");
    this.#say("left", head.running ? head.left ?? "…" : "–", [`${head.elapsed} gone`, head.cost].filter(Boolean).join(", "));
  }

  /** Say how the score is made: always by the weights that are in force. */
  #explainScore({ scoring, select }, best) {
    const key = JSON.stringify([scoring, select, best?.id, best?.score]);
    if (key === this.key) return;
    this.key = key;
    const chosen = select === "best" ? "" : " (the healthiest within a standard error of the highest)";
    const { note } = this.parts.best, who = best ? `${nameOf(best)}${chosen}: ` : "";
    if (scoring.objective === "accuracy") return note.replaceChildren(who, "pure ", link("categorical accuracy", ACCURACY_LINK), " on validation data");
    const rows = Object.entries(scoring.metrics).map(([name, weight]) => make("tr", {}, make("td", {}, words(name)), make("td", {}, weight.toFixed(2)), make("td", {}, figure(best?.metrics[name], 2))));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...["health metric", "weight", "value"].map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows));
    const share = scoring.accuracy + scoring.health;
    const formula = scoring.objective === "pareto"
      ? "accuracy; trials are compared by accuracy, health and size"
      : `${(scoring.accuracy / share).toFixed(2)} × accuracy ${figure(best?.accuracy, 3)} + ${(scoring.health / share).toFixed(2)} × health ${figure(best?.health, 3)}`;
    const open = note.querySelector("details")?.open ?? false;
    note.replaceChildren(who, formula, make("details", { open }, make("summary", {}, "what health is made of"), table));
  }
}

/** The settings as the kernel takes them: weights only where they are not the usual ones. */
function settingsOf({ draft, model }) {
  const form = model.get("form"), { weights, ...rest } = draft;
  const same = (one, other) => Object.keys(one).every((name) => one[name] === other[name]);
  let named = null;
  if (draft.objective !== "accuracy") {
    named = {};
    if (draft.objective === "health" && !same(weights.parts, form.usual_weights.parts)) Object.assign(named, weights.parts);
    if (!same(weights.metrics, form.usual_weights.metrics)) Object.assign(named, weights.metrics);
    if (!Object.keys(named).length) named = null;
  }
  return { ...rest, weights: named };
}

function table(header, rows, attributes = {}) {
  return make("div", { class: "hp-scroll", tabindex: "0", ...attributes }, make("table", {},
    make("thead", {}, make("tr", {}, ...header.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, at) => (at ? make("td", {}, cell) : make("th", { scope: "row" }, cell))))))));
}

/** Everything of one trial: what is known here at once, the rest when the kernel has sent it. */
function detailsOf(view, trial, more) {
  const { store } = view, facts = [
    ["score", figure(trial.score)], ["accuracy", figure(trial.accuracy)], ["loss", more?.params ? figure(more.loss) : "…"], ["health", healthOf(trial, 3)],
    ["best epoch", trial.best_epoch ?? "–"], ["epochs", trial.curve.length], ["weights", count(trial.weights)], ["time", seconds(trial.seconds)], ["from", trial.origin],
    ...(trial.cost == null ? [] : [["cost", dollars(trial.cost)]]),
    ["seed", more?.params ? more.seed : "…"],
  ];
  const body = make("div", { class: "hp-body", tabindex: "0" });
  body.drawLater = [];
  body.append(make("button", { type: "button", class: "hp-to-figures", onclick: () => view.showFigures(trial.id) }, "Figures of this trial"));
  body.append(make("dl", { class: "hp-facts-list" }, ...facts.flatMap(([name, value]) => [make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))])));
  const reason = more?.reason || trial.reason;
  if (reason) {
    body.append(make("h4", {}, trial.state === "failed" ? "Error" : "Reason"), make("pre", { class: "hp-reason" }, reason));
    if (more?.traceback) body.append(make("details", {}, make("summary", {}, "traceback"), make("pre", {}, more.traceback)));
  }
  if (trial.curve.length) {
    const charts = make("section", { class: "hp-charts" });
    const accuracy = new Chart({ title: "Accuracy", x: "epoch" });
    charts.append(accuracy.element);
    const bySets = (at, other) => [
      { name: "validation", bold: true, values: at }, { name: "training", values: other },
    ];
    body.drawLater.push(() => drawCurves(accuracy, Math.floor(accuracy.element.clientWidth), bySets(trial.curve.map(([, v]) => v), trial.curve.map(([t]) => t)), view.dark, ""));
    if (more?.params) {
      const loss = new Chart({ title: "Loss", x: "epoch" }), at = (name) => more.epochs.map((row) => row[more.columns.indexOf(name)]);
      charts.append(loss.element);
      body.drawLater.push(() => drawCurves(loss, Math.floor(loss.element.clientWidth), bySets(at("val_loss"), at("loss")), view.dark, ""));
    }
    body.append(charts);
  }
  if (!more?.params) {
    body.append(make("p", { class: "hp-waiting", "data-for": "details", role: "status" }, more?.problem ?? "Asking the kernel for the rest …"));
    return body;
  }
  if (more.epochs.length) {
    const rows = more.epochs.map((row) => row.map((value, at) => (at === 0 || value == null ? String(value ?? "not finite") : String(Number(value.toPrecision(4))))));
    body.append(make("details", {}, make("summary", {}, `all ${rows.length} epochs in numbers`), table(more.columns.map(words), rows)));
  }
  body.append(make("h4", {}, "Health"));
  const health = make("div", { class: "hp-health" });
  if (more.health_html) health.innerHTML = more.health_html; // made by the kernel, which has escaped every value
  else health.append(make("p", {}, more.no_health));
  body.append(health);
  if (more.trained_by) body.append(make("p", { class: "hp-muted" }, `Trained by: ${more.trained_by}.`));
  body.append(make("h4", {}, "Architecture"), architectureOf(view, trial));
  body.append(make("h4", {}, "Parameters"), table(["parameter", "value", "searched", "default", "what it does"], more.params));
  return body;
}

/** The layers of a trial's model, drawn by the kernel when they are asked for. */
function architectureOf(view, trial) {
  const box = make("div", { class: "hp-architecture" }), drawing = view.store.drawings.get(trial.id);
  if (drawing?.html) {
    box.innerHTML = drawing.html; // made by the kernel, which has escaped every value
    return box;
  }
  if (trial.state !== "finished") {
    box.append(make("p", {}, `There is no model: the trial is ${trial.state}.`));
    return box;
  }
  if (drawing?.problem) box.append(make("p", {}, drawing.problem));
  const said = drawing?.waiting ? " Loading the model …" : " Loads the model; the first time TensorFlow takes some seconds.";
  box.append(
    make("button", { type: "button", disabled: Boolean(drawing?.waiting), onclick: () => view.draw(trial.id) }, "Draw the layers"),
    make("span", { class: drawing?.waiting ? "hp-muted hp-waiting" : "hp-muted", "data-for": "architecture", role: "status" }, said),
  );
  return box;
}

/** Two or more trials side by side; rows that differ are marked. */
function comparisonOf(view, trials) {
  const { names } = view.store, body = make("div", { class: "hp-body hp-compare", tabindex: "0" });
  const { ui } = view.store, only = make("input", { type: "checkbox", checked: ui.differing });
  const metrics = Object.keys(view.store.head.scoring.metrics);
  const rows = [
    ["state", (trial) => `${GLYPHS[trial.state] ?? "?"} ${trial.state}`], ["score", (trial) => figure(trial.score)], ["accuracy", (trial) => figure(trial.accuracy)],
    ["health", (trial) => healthOf(trial, 3)], ...metrics.map((name) => [words(name), (trial) => figure(trial.metrics[name], 2)]),
    ["weights", (trial) => count(trial.weights)], ["epochs", (trial) => String(trial.curve.length)], ["time", (trial) => seconds(trial.seconds)],
    ["cost", (trial) => (trial.cost == null ? "–" : dollars(trial.cost))],
    ...names.map((name, at) => [name, (trial) => sayValue(trial.params[at]), (trial) => trial.params[at]]),
  ].map(([name, of, raw]) => [name, trials.map(of), trials.map(raw ?? of)]).filter(([, cells]) => cells.some((cell) => cell !== "" && cell !== "–"));
  const best = view.store.head.best;
  const header = ["", ...trials.map((trial) => `${nameOf(trial)}${trial.id === best ? " ★" : ""}`)];
  const differs = ([, , raw]) => new Set(raw).size > 1;
  const shown = table(header, rows.map((row) => [differs(row) ? `≠ ${row[0]}` : row[0], ...row[1]]));
  [...shown.querySelectorAll("tbody tr")].forEach((row, at) => row.classList.toggle("hp-differs", differs(rows[at])));
  only.addEventListener("change", () => shown.classList.toggle("hp-only", (ui.differing = only.checked)));
  shown.classList.toggle("hp-only", ui.differing);
  const chart = new Chart({ title: "Validation accuracy", x: "epoch" });
  body.append(make("section", { class: "hp-charts" }, chart.element), make("label", { class: "hp-tick" }, only, "only what differs (≠)"), shown);
  body.drawLater = [() => {
    const now = trials.map(({ id }) => view.store.trials.get(id)).filter((trial) => trial.curve.length);
    const series = now.map((trial) => ({ name: nameOf(trial), bold: trial.id === best, values: trial.curve.map(([, validation]) => validation) }));
    drawCurves(chart, Math.floor(chart.element.clientWidth), series, view.dark, "No epoch of these trials has ended.");
  }];
  return body;
}

const stores = new Map();

function initialize({ model }) {
  const { key } = model.get("frame");
  stores.set(key, new Store(model));
  return () => {
    stores.get(key).dispose();
    stores.delete(key);
  };
}

function render({ model, el }) {
  const root = make("div");
  let view, ended = false;
  const attach = () => {
    if (ended) return;
    if (!root.isConnected) return void requestAnimationFrame(attach); // a dialog opens on the page only
    view = new DashboardView(stores.get(model.get("frame").key), root);
    root.hpovizView = view;
  };
  el.append(root);
  attach();
  return () => {
    ended = true;
    view?.dispose();
  };
}

export default { initialize, render };
