// Elements and themes: what everything of hpoviz in a browser begins with. All texts are set as texts, never as markup.

/** Make an element; attributes that begin with "on" are listeners. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Tell whether the page around an element is dark; its own background is ours. */
function isDark(element) {
  const { body, documentElement: page } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  if (body.classList.contains("vscode-dark")) return true;
  if (page.getAttribute("theme")) return page.getAttribute("theme") === "dark";
  for (let one = element.parentElement; one; one = one.parentElement) {
    const parts = getComputedStyle(one).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (parts && (parts.length < 4 || parts[3] > 0)) {
      return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Set a text where it is another one: what stays the same is not announced again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
