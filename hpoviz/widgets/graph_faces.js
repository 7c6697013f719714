// Two faces of one graph: cytoscape in a notebook, SVG in a page of its own. Both show what a state says:
//   { nodes: { id: { colour, note, active, dim } }, edges: { id: { colour, width, label } } }, or null for the graph at rest.
// All texts are set as texts, never as markup.

const FONT = "DejaVu Sans, Verdana, Segoe UI, Roboto, Helvetica, Arial, sans-serif";
const BADGE = 22, INSET = 8, PADDING = 20;
const READABLE = 0.72; // a smaller scale is not to be read
const LOST_MS = 30000;

function badge(letter, colour, ink) {
  const picture =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${BADGE}" height="${BADGE}">` +
    `<rect width="${BADGE}" height="${BADGE}" rx="5" fill="${colour}"/>` +
    `<text x="11" y="15.4" text-anchor="middle" font-family="sans-serif" font-weight="700" font-size="12" ` +
    `fill="${ink}">${letter}</text></svg>`;
  return "data:image/svg+xml;utf8," + encodeURIComponent(picture);
}

/** Return black or white, whichever is easier to read on a colour. */
function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#101418" : "#ffffff";
}

/** The view that ipycytoscape shows; its positions are those of the scene. */
class CytoscapeFace {
  /** Wait until ipycytoscape has made the graph of a scene. */
  static async find(root, scene, alive) {
    let began = performance.now();
    while (alive()) {
      if (!root.isConnected || !root.clientWidth) began = performance.now(); // ipycytoscape waits for that too
      const cy = root.querySelector(`.hpoviz-canvas-${scene.serial}`)?._cyreg?.cy;
      if (cy && cy.nodes().length === scene.nodes.length && cy.edges().length === scene.edges.length) {
        await new Promise(requestAnimationFrame);
        return new CytoscapeFace(cy, scene);
      }
      if (performance.now() - began > LOST_MS) throw new Error("ipycytoscape has not drawn the graph.");
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    return null;
  }

  constructor(cy, scene) {
    this.cy = cy;
    this.scene = scene;
    this.container = cy.container();
    this.listening = new AbortController();
    const { signal } = this.listening;
    // The wheel scrolls the page, with Ctrl it zooms.
    const leave = (event) => {
      if (this.container.contains(event.target) && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    };
    this.container.parentElement.addEventListener("wheel", leave, { capture: true, passive: true, signal });
    const observer = new ResizeObserver(() => cy.resize());
    observer.observe(this.container);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  dispose() {
    this.listening.abort();
    if (!this.cy.destroyed()) this.cy.removeListener("tap dbltap");
  }

  onSelect(callback) {
    this.cy.on("tap", (event) => callback(event.target === this.cy || event.target.isEdge() ? null : event.target.id()));
  }

  onOpen(callback) {
    this.cy.on("dbltap", "node", (event) => callback(event.target.id()));
  }

  paint(mode, dark) {
    Object.assign(this, { mode, dark });
    const theme = this.scene.themes[dark ? "dark" : "light"];
    this.container.style.backgroundColor = theme.paper;
    const { cy, scene } = this;
    cy.style().fromJson([
      { selector: "core", style: { "active-bg-opacity": 0 } },
      {
        selector: "node",
        style: {
          shape: "round-rectangle", "font-family": FONT, "font-size": 10.5, color: theme.text, "text-wrap": "wrap",
          "text-max-width": 400, "text-halign": "center", "text-valign": "center", "text-justification": "left",
          "line-height": 1.25, "overlay-opacity": 0, "min-zoomed-font-size": 4,
        },
      },
      { selector: "node:selected", style: { "overlay-opacity": 0 } },
      {
        selector: ":parent",
        style: {
          "text-valign": "top", "text-halign": "center", "text-margin-y": 16, "border-style": "dashed",
          padding: PADDING, "background-opacity": 0.03, "compound-sizing-wrt-labels": "exclude", color: theme.muted,
        },
      },
      {
        selector: "edge",
        style: {
          "font-family": FONT, "font-size": 10, color: theme.muted, width: 1.2, "line-color": theme.line,
          "target-arrow-shape": "triangle", "target-arrow-color": theme.line, "arrow-scale": 0.8,
          "curve-style": "straight", "text-background-color": theme.paper, "text-background-opacity": 1,
          "text-background-padding": 2, "overlay-opacity": 0, "min-zoomed-font-size": 4,
        },
      },
    ]).update();
    this.frame(null); // sizes first: where a container lies depends on them
    for (const edge of scene.edges) this.#route(edge);
  }

  /** Lead an edge along the kernel's route: its bends as distances from the straight line. */
  #route(edge) {
    const element = this.cy.getElementById(edge.id);
    const [from, to] = [element.source().position(), element.target().position()];
    const [first, last] = [edge.points[0], edge.points[edge.points.length - 1]];
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = Math.hypot(dx, dy) || 1;
    const bends = edge.points.slice(1, -1);
    const style = {
      "source-endpoint": `${first[0] - from.x}px ${first[1] - from.y}px`,
      "target-endpoint": `${last[0] - to.x}px ${last[1] - to.y}px`,
    };
    if (bends.length) {
      const places = bends.map(([x, y]) => [x - from.x, y - from.y]);
      Object.assign(style, {
        "curve-style": "segments",
        "edge-distances": "node-position",
        "segment-weights": places.map(([x, y]) => (x * dx + y * dy) / length ** 2),
        "segment-distances": places.map(([x, y]) => (y * dx - x * dy) / length),
      });
    }
    if (edge.label_at) {
      const away = Math.hypot(edge.label_at[0] - first[0], edge.label_at[1] - first[1]);
      Object.assign(style, { "source-label": edge.label, "source-text-offset": Math.max(away, 8) });
    }
    element.style(style);
  }

  frame(state) {
    const { cy, scene } = this;
    this.state = state;
    cy.batch(() => {
      for (const node of scene.nodes) {
        const own = node.colours[this.mode][this.dark ? 1 : 0];
        const shown = state?.nodes[node.id];
        const element = cy.getElementById(node.id);
        const style = {
          "border-color": shown?.colour ?? own,
          "border-width": node.id === this.selected ? 4 : shown?.active ? 3.5 : 1.4,
          opacity: shown?.dim ? 0.45 : 1,
        };
        if (node.container === "open") {
          const least = Math.max(node.width - 2 * PADDING, 1);
          Object.assign(style, { label: node.title, "background-color": own, "min-width": least });
        } else {
          Object.assign(style, {
            width: node.width, height: node.height, "background-color": shown?.colour ?? own,
            "background-opacity": shown?.colour ? 0.32 : 0.13, "text-margin-x": (BADGE + INSET) / 2,
            "background-image": badge(node.letter, own, inkOn(own)), "background-width": BADGE,
            "background-height": BADGE, "background-position-x": INSET, "background-position-y": "50%",
            label: [node.count ? `${node.title}   ${node.count}` : node.title, shown?.note ?? node.facts].join("\n"),
            "text-max-width": 2 * node.width, // the texts are cut to fit
            "border-style": node.container === "closed" ? "double" : "solid",
          });
          if (node.container === "closed") style["border-width"] = Math.max(style["border-width"], 4);
        }
        element.style(style);
      }
      const theme = scene.themes[this.dark ? "dark" : "light"];
      for (const edge of scene.edges) {
        const shown = state?.edges[edge.id];
        const style = {
          width: shown?.width ?? 1.2, "line-color": shown?.colour ?? theme.line,
          "target-arrow-color": shown?.colour ?? theme.line,
        };
        if (edge.label_at) style["source-label"] = shown?.label ?? edge.label;
        cy.getElementById(edge.id).style(style);
      }
    });
  }

  select(id) {
    this.selected = id;
    this.frame(this.state);
  }

  /** Move nodes into view where they are not. */
  reveal(ids) {
    const nodes = this.cy.collection(ids.map((id) => this.cy.getElementById(id)).filter((one) => one.length));
    if (!nodes.length) return;
    const box = nodes.boundingBox({ includeLabels: false, includeOverlays: false }), view = this.cy.extent();
    const hidden = box.x1 < view.x1 || box.x2 > view.x2 || box.y1 < view.y1 || box.y2 > view.y2;
    if (!hidden) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.cy.stop().animate({ center: { eles: nodes } }, { duration: still ? 0 : 200 });
  }

  zoom(factor) {
    const { width, height } = this.container.getBoundingClientRect();
    this.cy.zoom({ level: this.cy.zoom() * factor, renderedPosition: { x: width / 2, y: height / 2 } });
  }

  fit() {
    this.cy.fit(undefined, 12);
    if (this.cy.zoom() > 1) this.start();
  }

  /** Begin at the top, at a size that can be read. */
  start() {
    const { cy } = this;
    cy.resize();
    const box = cy.elements().boundingBox();
    const [width, height] = [cy.width(), cy.height()];
    const across = this.scene.direction === "right";
    const level = Math.min(1, across ? (height - 24) / box.h : (width - 24) / box.w);
    const zoom = Math.max(level, READABLE);
    cy.zoom(zoom);
    // What does not fit across begins around the inputs.
    const first = cy.collection(this.scene.steps[0].map((id) => cy.getElementById(id))).boundingBox();
    const whole = level >= READABLE ? box : first;
    cy.pan(across ? { x: 12 - box.x1 * zoom, y: (height - (whole.y1 + whole.y2) * zoom) / 2 }
      : { x: (width - (whole.x1 + whole.x2) * zoom) / 2, y: 12 - box.y1 * zoom });
  }
}

/** The kernel's own drawing, as it lies in the page. */
class SvgFace {
  constructor(container, scene) {
    Object.assign(this, { container, scene, mode: "type", level: 1 });
  }

  dispose() {
    this.container.replaceChildren();
  }

  onSelect(callback) {
    this.container.onclick = (event) => callback(this.#node(event.target));
  }

  onOpen(callback) {
    this.container.ondblclick = (event) => callback(this.#node(event.target));
  }

  #node(target) {
    const key = decodeURIComponent(target.closest?.("[data-key]")?.dataset.key ?? "");
    return this.scene.nodes.some((node) => node.id === key) ? key : null;
  }

  paint(mode, dark) {
    Object.assign(this, { mode, dark });
    const parsed = new DOMParser().parseFromString(this.scene.svg[mode], "image/svg+xml").documentElement;
    this.svg = document.importNode(parsed, true);
    this.size = [Number(this.svg.getAttribute("width")), Number(this.svg.getAttribute("height"))];
    this.container.replaceChildren(this.svg);
    this.kept = new Map();
    this.parts = new Map();
    for (const part of this.svg.querySelectorAll("[data-key]")) {
      const key = decodeURIComponent(part.dataset.key);
      if (!this.parts.has(key)) this.parts.set(key, []);
      this.parts.get(key).push(part);
    }
    this.#resize();
    this.frame(null);
  }

  #part(key, role) {
    return this.parts.get(key)?.find((part) => part.dataset.role === role);
  }

  #set(part, changes) {
    if (!part) return;
    const kept = this.kept.get(part) ?? {};
    this.kept.set(part, kept);
    for (const [name, value] of Object.entries(changes)) {
      if (!(name in kept)) kept[name] = name === "text" ? part.textContent : part.getAttribute(name);
      if (name === "text") part.textContent = value;
      else part.setAttribute(name, value);
    }
  }

  frame(state) {
    this.state = state;
    for (const [part, kept] of this.kept) {
      for (const [name, value] of Object.entries(kept)) {
        if (name === "text") part.textContent = value;
        else if (value == null) part.removeAttribute(name);
        else part.setAttribute(name, value);
      }
    }
    this.kept.clear();
    for (const [id, shown] of Object.entries(state?.nodes ?? {})) {
      const box = this.#part(id, "box");
      if (!box) continue;
      if (shown.colour) this.#set(box, { fill: shown.colour, "fill-opacity": 0.32, stroke: shown.colour });
      if (shown.active) this.#set(box, { "stroke-width": 3.5 });
      if (shown.note) this.#set(this.#part(id, "facts"), { text: shown.note });
      if (shown.dim) this.parts.get(id).forEach((part) => this.#set(part, { opacity: 0.45 }));
    }
    for (const [id, shown] of Object.entries(state?.edges ?? {})) {
      if (shown.colour) {
        this.#set(this.#part(id, "line"), { stroke: shown.colour, "stroke-width": shown.width });
        this.#set(this.#part(id, "arrow"), { fill: shown.colour });
      }
      const label = this.#part(id, "label");
      if (label && shown.label) {
        this.#set(label, { text: shown.label });
        const width = (label.getComputedTextLength?.() || 6 * shown.label.length) + 4;
        this.#set(this.#part(id, "back"), { width, x: Number(label.getAttribute("x")) - width / 2 });
      }
    }
    const chosen = this.#part(this.selected, "box") ?? this.#part(this.selected, "container");
    this.#set(chosen, { "stroke-width": 4 });
  }

  select(id) {
    this.selected = id;
    this.frame(this.state);
  }

  reveal(ids) {
    const box = this.#part(ids[0], "box");
    if (!box) return;
    const [inner, outer] = [box.getBoundingClientRect(), this.container.getBoundingClientRect()];
    const hidden = inner.top < outer.top || inner.bottom > outer.bottom || inner.left < outer.left || inner.right > outer.right;
    if (!hidden) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.container.scrollBy({
      left: (inner.left + inner.right - outer.left - outer.right) / 2,
      top: (inner.top + inner.bottom - outer.top - outer.bottom) / 2,
      behavior: still ? "auto" : "smooth",
    });
  }

  #resize() {
    Object.assign(this.svg.style, { width: `${this.size[0] * this.level}px`, height: "auto", maxWidth: "none" });
  }

  zoom(factor) {
    this.level = Math.min(Math.max(this.level * factor, 0.1), 4);
    this.#resize();
  }

  fit() {
    const { clientWidth, clientHeight } = this.container;
    this.level = Math.min(clientWidth / this.size[0], clientHeight / this.size[1], 1);
    this.#resize();
  }

  start() {
    const { clientWidth } = this.container;
    this.level = Math.max(Math.min(clientWidth / this.size[0], 1), READABLE);
    this.#resize();
    const box = this.#part(this.scene.steps[0][0], "box");
    const middle = box ? (Number(box.getAttribute("x")) + Number(box.getAttribute("width")) / 2) * this.level : 0;
    this.container.scrollTo(middle - clientWidth / 2, 0);
  }

  /** Return the drawing as it is shown now as the text of a file: colours in place of variables, on paper. */
  file() {
    const copy = this.svg.cloneNode(true);
    copy.removeAttribute("style");
    const sheet = copy.querySelector("style");
    const rule = sheet.textContent.split("}")[this.dark ? 1 : 0];
    const colours = Object.fromEntries([...rule.matchAll(/(--[\w-]+):(#[0-9a-f]{6})/g)].map((found) => found.slice(1)));
    const paper = document.createElementNS(copy.namespaceURI, "rect");
    const fill = this.scene.themes[this.dark ? "dark" : "light"].paper;
    for (const [name, value] of Object.entries({ width: this.size[0], height: this.size[1], fill })) {
      paper.setAttribute(name, value);
    }
    sheet.replaceWith(paper);
    return new XMLSerializer().serializeToString(copy).replace(/var\((--[\w-]+)\)/g, (_, name) => colours[name]);
  }
}
