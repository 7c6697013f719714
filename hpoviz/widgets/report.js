// The page of a run: figures that are drawn when they come near, a table that sorts, texts to copy.

const NEAR = "600px 0px"; // so far from the screen a figure is drawn
const PAPER = 680; // pixels across a printed page
const SMALL = 480; // below that many pixels a figure has small letters
const CONFIG = {
  displaylogo: false, showSendToCloud: false, scrollZoom: false, modeBarButtonsToRemove: ["select2d", "lasso2d"],
};

const template = JSON.parse(document.getElementById("rp-template").textContent);
const model = JSON.parse(document.getElementById("model-data")?.textContent ?? "null");
const finger = matchMedia("(pointer: coarse)").matches;

/** Draw a figure in its place, once; it is as wide as its place. */
function drawPlot(place) {
  if (place.dataset.drawn) return;
  place.dataset.drawn = "begun";
  const { data, layout, frames } = JSON.parse(place.nextElementSibling.textContent);
  const solid = place.dataset.kind === "scene";
  layout.template = template;
  if (finger && !solid) layout.dragmode = false; // a finger scrolls the page
  if (solid) fitScene({ relayout: (_, changes) => setAll(layout, changes) }, place, model.fit);
  else if (place.clientWidth < SMALL) {
    layout.font = { ...layout.font, size: 10 };
    layout.margin.r += 10;
  }
  const config = {
    ...CONFIG, responsive: !solid, displayModeBar: finger ? false : "hover",
    toImageButtonOptions: { filename: place.parentElement.id, scale: 2 },
  };
  place.drawing = Plotly.newPlot(place, { data, layout, frames, config }).then(() => {
    place.dataset.drawn = "done";
    if (solid) new ResizeObserver(() => requestAnimationFrame(() => fitScene(Plotly, place, model.fit))).observe(place);
  }, (error) => {
    place.dataset.drawn = "failed";
    place.textContent = `This browser cannot draw it: ${error.message}`;
  });
}

/** Set what Plotly.relayout would, in a layout that is not drawn yet. */
function setAll(layout, { width, ...changes }) {
  layout.width = width;
  for (const [path, value] of Object.entries(changes)) layout.scene[path.replace("scene.", "")] = value;
}

const plots = [...document.querySelectorAll(".rp-plot")];
const watcher = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    drawPlot(target);
  }
}, { rootMargin: NEAR });
for (const place of plots) watcher.observe(place);

/** Make a figure so many pixels wide, or as wide as its place. */
function fitPlot(place, width) {
  if (place.dataset.kind === "scene") return fitScene(Plotly, place, model.fit);
  if (width || place.layout.width) return Plotly.relayout(place, { width, autosize: !width });
  return Plotly.Plots.resize(place);
}

// ---- paper: everything is drawn, opened, and as wide as a sheet

const opened = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    opened.push(details);
  }
  for (const place of plots) {
    place.style.width = `${PAPER}px`;
    if (place.dataset.drawn === "done") fitPlot(place, PAPER);
    else drawPlot(place);
  }
});
addEventListener("afterprint", () => {
  for (const details of opened.splice(0)) details.open = false;
  for (const place of plots) {
    place.style.width = "";
    place.drawing?.then(() => fitPlot(place, null));
  }
});

// ---- the table of trials

/** Compare what cells are sorted by: numbers as numbers, texts as texts, what is missing last. */
function compareCells(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
}

/** Sort by a column; once more is the other way round. */
function sortBy(table, head) {
  const heads = [...head.parentElement.children], column = heads.indexOf(head);
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : head.dataset.first === "down";
  const rows = [...table.tBodies[0].rows], value = (row) => row.cells[column].dataset.value;
  rows.sort((a, b) => compareCells(value(a), value(b), down ? -1 : 1));
  table.tBodies[0].append(...rows);
  for (const one of heads) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  say(document.getElementById("trials-said"), `Sorted by ${head.textContent}, ${down ? "descending" : "ascending"}.`);
}

for (const table of document.querySelectorAll(".rp-trials")) {
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => sortBy(table, head));
  }
}

// ---- texts to copy

/** Copy the text beside a button; where a page may not, choose it for the keyboard. */
async function copyBeside(button) {
  const text = button.nextElementSibling;
  try {
    await navigator.clipboard.writeText(text.textContent);
    say(button, "Copied");
  } catch {
    getSelection().selectAllChildren(text);
    say(button, document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
  }
  setTimeout(() => say(button, "Copy"), 3000);
}

for (const button of document.querySelectorAll(".rp-copy")) button.addEventListener("click", () => copyBeside(button));

if (model) mountPage(document.getElementById("graph"), model);
