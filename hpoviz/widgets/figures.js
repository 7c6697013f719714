// Figures of a search and of its trials, drawn when they are asked for, and everything that can be taken away.

const DRAWING_MS = 300; // what takes longer is spoken of
const STUDY = "study";
const FILES = {
  best_model: ["Best model", "best_model.zip", "the trained model (.keras) with its hyperparameters (YAML), in one zip"],
  results: ["Results", "results.csv", "a row for every trial that has ended"],
  report: ["Report", "report.html", "the whole run as one page that works without a network"],
  run: ["Whole run", "run.zip", "everything on disk, for hpoviz.open_run elsewhere"],
};
let plotlyOfPage = null;

/** plotly's JavaScript, which comes from the kernel once for a page. */
function loadPlotly(store) {
  plotlyOfPage ??= store.request("library").then(([[, buffers]]) => {
    const address = URL.createObjectURL(new Blob(buffers, { type: "text/javascript" }));
    return import(/* webpackIgnore: true */ address).then((module) => module.default).finally(() => URL.revokeObjectURL(address));
  }).catch((error) => {
    plotlyOfPage = null; // the next figure tries again
    throw error;
  });
  return plotlyOfPage;
}

/** Let people say where a file goes, then write it; `blobOf` gives the blob. False where they changed their mind. */
async function saveFile(name, blobOf) {
  let place = null;
  if (window.showSaveFilePicker) {
    try {
      place = await window.showSaveFilePicker({ suggestedName: name });
    } catch (error) {
      if (error.name === "AbortError") return false;
    } // a page inside another one may not ask: the browser's own download does
  }
  const blob = await blobOf();
  if (place) {
    const file = await place.createWritable();
    await file.write(blob);
    await file.close();
  } else {
    const address = URL.createObjectURL(blob), anchor = make("a", { href: address, download: name });
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }
  return true;
}

/** The lines of one of plotly's texts, without its marks; nothing in it is carried out. */
const textLines = (text) => text.split("<br>").map((line) => new DOMParser().parseFromString(line, "text/html").body.textContent.trim()).filter(Boolean);

/** Figures as tabs: those of the search, and those of a trial that can be chosen. */
class Figures {
  constructor(view) {
    Object.assign(this, { view, store: view.store, uid: view.uid, name: null, study: "history", chosen: null, drawn: 0 });
    const { trial, study } = this.store.get("frame").figures;
    this.titles = Object.fromEntries([...trial, [STUDY, "Study"]]);
    this.tabs = Object.keys(this.titles).map((name) => make("button", {
      type: "button", role: "tab", id: `hp-tab-${name}-${this.uid}`, "data-tab": name, "aria-selected": "false", "aria-controls": `hp-panel-${this.uid}`,
      tabindex: "-1", onclick: () => this.open(name), onkeydown: (event) => this.#key(event),
    }, this.titles[name]));
    this.tabs[0].tabIndex = 0;
    this.trial = make("select", { "aria-label": "figures of which trial", onchange: () => this.#choose() });
    this.kind = make("select", { "aria-label": "which figure of the search", onchange: () => ((this.study = this.kind.value), this.#draw()) });
    for (const [name, title] of study) this.kind.append(make("option", { value: name }, title));
    this.trialLabel = make("label", {}, "of", this.trial);
    this.kindLabel = make("label", { hidden: true }, "figure", this.kind);
    this.said = make("p", { class: "hp-muted hp-drawing", role: "status" });
    this.heading = make("div", { class: "hp-heading" });
    this.plot = make("div", { class: "hp-plot" });
    this.saves = make("div", { class: "hp-bar hp-saves" });
    this.panel = make("div", { id: `hp-panel-${this.uid}`, role: "tabpanel", tabindex: "0", class: "hp-panel" }, this.said, this.heading, this.plot, this.saves);
    this.files = make("div", { class: "hp-bar hp-files" }, make("h3", {}, "Take away"));
    for (const [what, [title, , words]] of Object.entries(FILES)) {
      this.files.append(make("button", { type: "button", "data-file": what, title: words, onclick: ({ target }) => this.#takeAway(what, target) }, `⤓ ${title}`));
    }
    this.fileSaid = make("span", { class: "hp-muted", role: "status" });
    this.files.append(this.fileSaid);
    this.element = make("section", { class: "hp-figures-of" },
      make("div", { class: "hp-bar" }, make("h3", {}, "Figures"), this.trialLabel, this.kindLabel),
      make("div", { class: "hp-tabs hp-scroll", role: "tablist", "aria-label": "figures" }, ...this.tabs), this.panel, this.files);
    this.sizes = new ResizeObserver(() => requestAnimationFrame(() => this.#fit()));
    this.sizes.observe(this.plot);
    this.#say("Open a figure: it is drawn then.");
  }

  dispose() {
    this.sizes.disconnect();
    this.#clear();
  }

  /** Follow the search: which trials there are, and what can be taken away. */
  changed() {
    const { head, trials } = this.store;
    const ended = [...trials.values()].filter((trial) => trial.number != null).sort((a, b) => a.number - b.number);
    const key = `${ended.length} ${head.best}`;
    if (key !== this.key) {
      this.key = key;
      const option = (trial) => make("option", { value: trial.id }, `${nameOf(trial)}${trial.id === head.best ? " ★ best" : ""} · ${trial.state}${trial.score == null ? "" : ` ${figure(trial.score, 3)}`}`);
      this.trial.replaceChildren(make("option", { value: "" }, "the best trial"), ...ended.map(option));
      this.trial.value = this.chosen ?? "";
      if (this.name === STUDY || (this.name && this.chosen == null && this.best !== head.best)) this.#drawSoon();
      this.best = head.best;
    }
    const none = head.counts.finished ? "" : "when the first trial has finished";
    const why = { best_model: none, results: ended.length ? "" : "when the first trial has ended", report: none, run: "" };
    const waits = Object.keys(FILES).filter((what) => why[what]);
    for (const button of this.files.querySelectorAll("[data-file]")) button.disabled = Boolean(why[button.dataset.file]) || this.saving;
    if (!this.saving && (waits.length > 0) !== Boolean(this.waits)) {
      this.waits = waits.length > 0;
      say(this.fileSaid, waits.length ? `${waits.map((what) => FILES[what][0]).join(", ")}: ${why[waits[0]]}.` : "");
    }
  }

  /** Show the figures of one trial. */
  openTrial(id) {
    this.chosen = id;
    this.trial.value = id;
    this.open(this.name && this.name !== STUDY ? this.name : "training");
    this.element.scrollIntoView({ block: "start" });
    this.#tab(this.name).focus({ preventScroll: true });
  }

  open(name) {
    this.name = name;
    for (const tab of this.tabs) {
      tab.setAttribute("aria-selected", tab.dataset.tab === name);
      tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", this.#tab(name).id);
    this.trialLabel.hidden = name === STUDY;
    this.kindLabel.hidden = name !== STUDY;
    this.#draw();
  }

  themed() {
    if (this.name) this.#draw();
  }

  #tab(name) {
    return this.tabs.find((tab) => tab.dataset.tab === name);
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step == null) return;
    event.preventDefault();
    const last = this.tabs.length - 1, at = this.tabs.indexOf(event.currentTarget) + step;
    const next = this.tabs[at === Infinity ? last : at === -Infinity ? 0 : (at + last + 1) % (last + 1)];
    next.focus();
    this.open(next.dataset.tab);
  }

  #choose() {
    this.chosen = this.trial.value === "" ? null : Number(this.trial.value);
    if (this.name) this.#draw();
  }

  /** A search that runs ends trials all the time: draw again at most every few seconds. */
  #drawSoon() {
    this.later ??= setTimeout(() => {
      this.later = null;
      if (this.panel.contains(document.activeElement)) this.#drawSoon(); // somebody is at it
      else if (this.element.isConnected) this.#draw();
    }, 3000);
  }

  /** What is asked for: a figure of the search, or of a trial. */
  #wanted() {
    const of = this.name === STUDY ? null : this.chosen ?? this.store.head.best;
    return { name: this.name === STUDY ? this.study : this.name, id: of, dark: this.view.dark };
  }

  async #draw() {
    const turn = ++this.drawn, wanted = this.#wanted(), { said } = this;
    const mine = () => turn === this.drawn && !this.view.ended.signal.aborted;
    this.panel.setAttribute("aria-busy", "true");
    delete this.panel.dataset.shown;
    if (wanted.id == null && this.name !== STUDY) return this.#fail("No trial has finished yet. Choose one that has ended, or wait.");
    const patience = setTimeout(() => {
      if (!mine()) return;
      said.classList.add("hp-at-work");
      this.#say(wanted.name === "architecture" ? "Loading the model; the first time TensorFlow takes some seconds …" : "Drawing …");
    }, DRAWING_MS);
    const busy = setTimeout(() => mine() && this.#say("Still at it: the kernel may be busy with a cell …"), 4 * ANSWER_MS);
    try {
      const [Plotly, [[answer]]] = await Promise.all([loadPlotly(this.store), this.store.request("figure", wanted)]);
      if (!mine()) return;
      const { data, layout, frames } = JSON.parse(answer.figure);
      this.#clear();
      this.shown = { Plotly, fit: answer.fit, whole: { data, layout } };
      const words = textLines(layout.title?.text ?? "");
      const place = { ...layout, width: this.plot.clientWidth || 600 };
      if (!answer.fit) { // a title that breaks where there is no more room
        this.heading.replaceChildren(make("h4", {}, words[0] ?? ""), make("p", {}, words.slice(1).join(" ")));
        const less = (layout.margin?.t ?? 60) - 36;
        Object.assign(place, { title: undefined, margin: { ...layout.margin, t: 36 }, height: (layout.height ?? 450) - less });
      }
      this.plot.style.height = `${place.height ?? 600}px`;
      await Plotly.newPlot(this.plot, data, place, { displaylogo: false, showSendToCloud: false, modeBarButtonsToRemove: ["toImage"] });
      if (frames?.length && mine()) await Plotly.addFrames(this.plot, frames);
      if (!mine()) return;
      this.#say("");
      this.#offer(wanted);
      this.plot.setAttribute("role", "group");
      this.plot.setAttribute("aria-label", words.join(" "));
      this.#fit();
      this.panel.dataset.shown = `${wanted.name} ${wanted.id ?? STUDY}`;
    } catch (error) {
      if (mine()) this.#fail(error.message);
    } finally {
      clearTimeout(patience);
      clearTimeout(busy);
      if (mine()) {
        said.classList.remove("hp-at-work");
        this.panel.setAttribute("aria-busy", "false");
      }
    }
  }

  #fail(text) {
    this.#clear();
    this.said.classList.remove("hp-at-work");
    this.#say(text);
    this.panel.setAttribute("aria-busy", "false");
  }

  #say(text) {
    say(this.said, text);
    this.said.hidden = !text;
  }

  #clear() {
    this.shown?.Plotly.purge(this.plot);
    this.shown = this.fitted = null;
    this.heading.replaceChildren();
    this.plot.style.height = "";
    this.plot.removeAttribute("role");
    this.plot.hpovizWidth = null;
    this.saves.replaceChildren();
    delete this.panel.dataset.shown;
  }

  #fit() {
    const { shown } = this, width = this.plot.clientWidth;
    if (!shown || !width || width === this.fitted) return;
    this.fitted = width;
    if (shown.fit) fitScene(shown.Plotly, this.plot, shown.fit);
    else shown.Plotly.relayout(this.plot, { width });
  }

  // ---- taking away

  #offer(wanted) {
    const { Plotly, whole } = this.shown, width = Math.max(600, this.plot.clientWidth), height = whole.layout.height ?? 600;
    const stem = wanted.id == null ? wanted.name : `trial_${this.store.trials.get(wanted.id).number}_${wanted.name}`;
    const picture = (format) => async () => (await fetch(await Plotly.toImage(whole, { format, width, height, scale: format === "png" ? 2 : 1 }))).blob();
    const file = (content) => () => this.#fetch(content, () => {});
    const offers = [["PNG", `${stem}.png`, picture("png")], ["SVG", `${stem}.svg`, picture("svg")], ["HTML", `${stem}.html`, file({ what: "figure", ...wanted })]];
    if (wanted.name === "architecture") {
      for (const suffix of ["svg", "png", "json"]) offers.push([`layers as ${suffix.toUpperCase()}`, `${stem}.layers.${suffix}`, file({ what: "drawing", suffix, ...wanted })]);
    }
    const note = make("span", { class: "hp-muted", role: "status" });
    const buttons = offers.map(([title, name, blob]) => make("button", {
      type: "button", "data-save": title, onclick: ({ target }) => this.#save(target, name, blob, note),
    }, `⤓ ${title}`));
    this.saves.replaceChildren("save this figure as", ...buttons, note);
  }

  async #save(button, name, blob, note) {
    button.disabled = true;
    const patience = setTimeout(() => say(note, `Making ${name} …`), DRAWING_MS);
    try {
      const saved = await saveFile(name, blob);
      clearTimeout(patience);
      say(note, saved ? `${name} is saved.` : "");
    } catch (error) {
      clearTimeout(patience);
      say(note, error.message);
    } finally {
      button.disabled = false;
    }
  }

  async #takeAway(what, button) {
    this.saving = true;
    for (const one of this.files.querySelectorAll("button")) one.disabled = true;
    const name = FILES[what][1], tell = (share) => say(this.fileSaid, `Getting ${name} … ${Math.round(100 * share)} %`);
    const content = { what, dark: this.view.dark };
    await this.#save(button, name, () => (say(this.fileSaid, `Making ${name} …`), this.#fetch(content, tell)), this.fileSaid);
    this.saving = false;
    this.changed();
  }

  /** Get a file from the kernel, part by part. */
  async #fetch(content, tell) {
    const parts = await this.store.request("file", content, ({ part, parts }) => tell((part + 1) / parts));
    return new Blob(parts.flatMap(([, buffers]) => buffers));
  }
}
