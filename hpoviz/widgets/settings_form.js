// The settings of a search as a form. What is filled in is kept in the store's draft until Start is pressed.

/** Return the whole form of a view. */
function makeForm(view) {
  const { store } = view, form = store.get("form"), { draft } = store;
  const element = make("div", { class: "hp-form" });
  if (form.begun || store.head.begun) element.append(make("p", { class: "hp-muted" }, "The search has begun with these settings; they stay as they are."));
  const fields = make("div", { class: "hp-fieldset" });
  fields.append(make("div", { class: "hp-fields" }, ...mainFields(view, form, draft)), dataFacts(form, draft));
  if (draft.objective !== "accuracy") fields.append(weightFields(view, form, draft));
  fields.append(spaceFields(view, form, draft));
  element.append(fields);
  if (form.facts.length) element.append(make("details", {}, make("summary", {}, "All settings of this search"), table(["setting", "value"], form.facts)));
  return element;
}

/** A field with its name, and a help button before its control where there is something to explain. */
function field(name, control, help) {
  control.dataset.field ??= name;
  return make("div", { class: "hp-field" }, help, make("label", {}, make("span", {}, name), control));
}

function numberInput({ value, least, most, step, empty, onvalue, label, field: name }) {
  const input = make("input", { type: "number", min: least, max: most, step: step ?? "any", value, placeholder: empty, "aria-label": label, "data-field": name });
  input.addEventListener("change", () => onvalue(input.value === "" ? null : Number(input.value)));
  return input;
}

function mainFields(view, form, draft) {
  const { store } = view, choose = () => store.ask("choose", { settings: settingsOf(store) });
  const data = make("select", {}, ...form.datasets.map((row) => make("option", { value: row.name, selected: row.name === draft.data }, row.title ? `${row.title} (yours)` : row.name)));
  data.addEventListener("change", () => ((draft.data = data.value), choose()));
  const dataHelp = view.helpButton("data sets", () => [
    make("ul", {}, ...HELP.data.map(([name, address, kind]) => make("li", {}, link(name, address), ` ${kind}`))),
    make("p", {}, "digits and docstrings are embedded and start at once; the others are downloaded the first time."),
  ]);
  const objective = make("select", {}, ...form.objectives.map((name) => make("option", { value: name, selected: name === draft.objective }, name)));
  objective.addEventListener("change", () => ((draft.objective = objective.value), store.each("formed")));
  const objectiveHelp = view.helpButton("model health vs accuracy", () => HELP.objective.map((text) => make("p", {}, text)));
  const trials = numberInput({ value: draft.trials, least: 1, step: 1, onvalue: (value) => (draft.trials = value) });
  const shown = [field("data set", data, dataHelp), field("objective", objective, objectiveHelp), field("trials", trials)];
  if (draft.epochs) {
    const [low, high] = [0, 1].map((at) => numberInput({
      value: draft.epochs[at], least: 1, step: 1, label: at ? "most epochs" : "least epochs", field: `epochs ${at}`,
      onvalue: (value) => (draft.epochs = draft.epochs.map((old, place) => (place === at ? value : old))),
    }));
    shown.push(field("epochs, from – to", make("span", { class: "hp-pair", "data-field": "epochs" }, low, "–", high)));
  }
  shown.push(field("workers", numberInput({ value: draft.workers, least: 1, step: 1, empty: "automatic", onvalue: (value) => (draft.workers = value) })));
  const backend = make("select", { "data-fixed": String(form.backend == null) }, ...(form.backend == null ? ["your own"] : form.backends).map((name) => make("option", { value: name, selected: name === draft.backend }, name)));
  backend.addEventListener("change", () => (draft.backend = backend.value));
  shown.push(field("backend", backend));
  if (form.runpod) {
    const toggle = make("input", { type: "checkbox", role: "switch", checked: draft.runpod });
    const tell = () => (backend.dataset.fixed = String(form.backend == null || draft.runpod), backend.disabled = backend.dataset.fixed === "true");
    toggle.addEventListener("change", () => ((draft.runpod = toggle.checked), tell()));
    tell();
    shown.push(field("run on RunPod", make("span", { class: "hp-pair", title: form.runpod.title }, toggle, form.runpod.title)));
  }
  shown.push(field("seed", numberInput({ value: draft.seed, least: 0, step: 1, empty: "drawn", onvalue: (value) => (draft.seed = value) })));
  return shown;
}

/** What there is to know of the chosen data. */
function dataFacts(form, draft) {
  const row = form.datasets.find((one) => one.name === draft.data);
  if (!row) return "";
  const facts = `${row.title ?? row.name}: ${row.kind}, ${row.shape}, ${row.classes} classes, ${count(row.train)} training and ${count(row.test)} test samples; ${row.good_for}${row.licence ? `; licence: ${row.licence}` : ""} `;
  return make("p", { class: "hp-muted" }, facts, row.link ? link("more", row.link) : "");
}

/** Sliders for accuracy and health, and for the six metrics, with their sums and what each one's share is. */
function weightFields(view, form, draft) {
  const box = make("section", { class: "hp-weights" });
  const groups = draft.objective === "health" ? ["parts", "metrics"] : ["metrics"];
  const titles = { parts: "The score: accuracy and health", metrics: "The overall health: six metrics" };
  for (const group of groups) {
    const weights = draft.weights[group], sum = make("output", {}), outputs = {};
    const tell = () => {
      const total = Object.values(weights).reduce((all, one) => all + one, 0);
      say(sum, total > 0 ? `sum ${total.toFixed(2)}` : "sum 0: give at least one of them a weight");
      sum.classList.toggle("hp-wrong", !(total > 0));
      for (const [name, output] of Object.entries(outputs)) say(output, `${weights[name].toFixed(2)} (${total > 0 ? Math.round((100 * weights[name]) / total) : 0}%)`);
    };
    const reset = make("button", { type: "button" }, "Reset");
    reset.addEventListener("click", () => {
      Object.assign(weights, form.usual_weights[group]);
      view.store.each("formed");
    });
    const rows = Object.keys(weights).map((name) => {
      const slider = make("input", { type: "range", min: 0, max: Math.max(1, weights[name]), step: 0.01, value: weights[name], "data-field": `weight ${name}` });
      outputs[name] = make("output", {});
      slider.addEventListener("input", () => ((weights[name] = Number(slider.value)), tell()));
      const help = form.metric_help[name];
      const button = help ? view.helpButton(words(name), () => [make("p", {}, help)]) : null;
      return make("div", { class: "hp-field hp-slider" }, button, make("label", {}, make("span", {}, words(name)), slider, outputs[name]));
    });
    tell();
    box.append(make("div", { class: "hp-group" }, make("div", { class: "hp-bar" }, make("h4", {}, titles[group]), sum, reset), ...rows));
  }
  return box;
}

/** The search-space editor: every parameter with its explanation; narrow it, fix it, or put it back. */
function spaceFields(view, form, draft) {
  const { store } = view;
  if (!form.space.length) return make("p", { class: "hp-muted" }, form.space_note);
  const changed = make("span", { class: "hp-muted" });
  const tell = () => {
    const many = form.space.filter((row) => JSON.stringify(draft.space[row.name]) !== JSON.stringify(row.start)).length;
    say(changed, many ? ` · ${many} changed` : "");
  };
  const element = make("details", { class: "hp-space-editor", open: store.ui.space },
    make("summary", {}, `Search space: ${form.space.length} parameters`, changed),
    ...form.space.map((row) => spaceRow(view, row, draft, tell)));
  element.addEventListener("toggle", () => (store.ui.space = element.open));
  tell();
  return element;
}

/** What there is to know of a parameter: the form's own words at once, and its whole card when the kernel has sent it. */
function cardOf(view, row) {
  const { store } = view, box = make("div", { class: "hp-card", "aria-live": "polite" });
  box.append(make("p", {}, row.help), row.when ? make("p", {}, `Searched only when ${row.when}.`) : "", make("p", {}, `Default: ${row.default}.`));
  const show = (html) => (box.innerHTML = html); // made by the kernel, which has escaped every value
  store.cards ??= new Map();
  const key = `${store.get("form").data} ${row.name}`;
  if (store.cards.has(key)) show(store.cards.get(key));
  else store.request("card", { name: row.name }).then(([[{ html }]]) => (store.cards.set(key, html), show(html), view.placeHelp()), (error) => box.append(make("p", { class: "hp-muted" }, error.message)));
  return box;
}

function spaceRow(view, row, draft, tell) {
  const help = view.helpButton(words(row.name), () => [cardOf(view, row)]);
  const reset = make("button", { type: "button", "aria-label": `put ${row.name} back`, onclick: () => (set(row.start), build(), control.querySelector("select, input")?.focus()) }, "Reset");
  const control = make("span", { class: "hp-control" });
  const element = make("div", { class: "hp-parameter", "data-parameter": row.name },
    help, make("strong", { title: row.when ? `Searched only when ${row.when}.` : "" }, words(row.name)), control, reset);
  const set = (entry) => {
    draft.space[row.name] = entry;
    const changed = JSON.stringify(entry) !== JSON.stringify(row.start);
    reset.hidden = !changed;
    element.classList.toggle("hp-changed", changed);
    tell();
  };
  const build = () => {
    const now = draft.space[row.name];
    control.replaceChildren(now.list ? `one of ${now.list.map(sayValue).join(", ")}` : row.ranged ? rangeControl(row, draft, set, build) : choiceControl(row, now, set));
  };
  build();
  set(draft.space[row.name]);
  return element;
}

/** Two ends, or one value; the controls stay while they are used, and are made anew for the other kind only. */
function rangeControl(row, draft, set, build) {
  const { range } = draft.space[row.name], fixed = range[0] === range[1], step = row.whole ? 1 : "any", [least, most] = row.valid ?? [];
  const mode = make("select", { "aria-label": `${row.name}: search or fix` }, make("option", { value: "search", selected: !fixed }, "search"), make("option", { value: "fix", selected: fixed }, "fix"));
  const box = make("span", { class: "hp-pair" }, mode);
  mode.addEventListener("change", () => {
    const declared = row.start.range?.[0] === row.start.range?.[1] ? row.valid ?? range : row.start.range;
    set({ range: mode.value === "fix" ? [row.default, row.default] : declared });
    const parent = box.parentElement;
    build();
    parent.querySelector("select").focus();
  });
  const input = (places, label) => {
    const found = numberInput({
      value: range[places[0]], least, most, step, label: `${row.name}: ${label}`,
      onvalue: (given) => {
        const now = [...draft.space[row.name].range];
        if (given == null) return void (found.value = now[places[0]]); // it needs a number
        for (const place of places) now[place] = given;
        set({ range: now });
      },
    });
    return found;
  };
  if (fixed) box.append(input([0, 1], "value"));
  else box.append(input([0], "from"), "–", input([1], "to"));
  if (row.log) box.append(make("small", { title: "searched by orders of magnitude" }, "log"));
  return box;
}

function choiceControl(row, now, set) {
  const chosen = new Set(now.choices), box = make("span", { class: "hp-choices", role: "group", "aria-label": row.name }), note = make("small");
  const tell = () => say(note, chosen.size === 1 ? "fixed" : "");
  row.choices.forEach((text, place) => {
    const tick = make("input", { type: "checkbox", checked: chosen.has(place) });
    tick.addEventListener("change", () => {
      tick.checked ? chosen.add(place) : chosen.delete(place);
      if (!chosen.size) {
        chosen.add(place); // one must stay
        tick.checked = true;
      }
      set({ choices: [...chosen].sort((a, b) => a - b) });
      tell();
    });
    box.append(make("label", { class: "hp-choice" }, tick, text));
  });
  tell();
  box.append(note);
  return box;
}
