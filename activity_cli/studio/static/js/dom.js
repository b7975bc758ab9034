/** Elements without markup: text only becomes text nodes, styles are set through the CSSOM. */

/**
 * Create an element. `on...` attributes are listeners, `style` is an object of CSS properties,
 * null, undefined and false attributes and children are left out.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") setStyle(element, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

/** Append children: elements or texts, in nested lists. */
export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  return add(element, ...children);
}

/** Set CSS properties, custom ones included. */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
}

/** Set the text of an element only where it changed, so that screen readers stay quiet. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** Create an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  add(element, children);
  return element;
}

// Paths of icons on a grid of 24 x 24, drawn as lines.
const ICONS = {
  videos: "M4 5h6v6H4zM14 5h6v6h-6zM4 14h6v5H4zM14 14h6v5h-6z",
  label: "M4 6h10M4 12h16M4 18h7M18 4v4M14 16v4",
  train: "M4 19h16M5 15l4-5 4 3 6-8M15 5h4v4",
  results: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  review: "M4 5h16v11H9l-5 4zM9 10.5l2.2 2.2 4-4.4",
  play: "M8 5.5v13l10.5-6.5z", reverse: "M16 5.5v13L5.5 12z", edgeback: "M15 5v14M11 9l-3 3 3 3", edgeon: "M9 5v14M13 9l3 3-3 3", pause: "M8 5v14M16 5v14",
  back: "M15 6l-6 6 6 6", forward: "M9 6l6 6-6 6", previous: "M18 6l-7 6 7 6zM7 6v12", next: "M6 6l7 6-7 6zM17 6v12",
  undo: "M8 6l-4 4 4 4M4 10h10a5 5 0 0 1 0 10h-3", redo: "M16 6l4 4-4 4M20 10H10a5 5 0 0 0 0 10h3",
  split: "M12 4v16M8 8l-4 4 4 4M16 8l4 4-4 4", remove: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12", close: "M6 6l12 12M18 6L6 18",
  in: "M9 5H6v14h3M18 12H10M13 9l-3 3 3 3", out: "M15 5h3v14h-3M6 12h8M11 9l3 3-3 3", search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4 4",
  check: "M5 12.5l4.5 4.5L19 7.5", warn: "M12 4l9 16H3zM12 10v4M12 17v.4", theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  keys: "M3 7h18v10H3zM7 10.5h.4M11 10.5h.4M15 10.5h.4M8 14h8", plus: "M12 5v14M5 12h14", copy: "M9 9h10v11H9zM5 15V4h10", zoomin: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4 4M8 11h6M11 8v6",
  zoomout: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4 4M8 11h6", group: "M9 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM3 19c0-3 2.5-5 6-5s6 2 6 5M16 11a2.5 2.5 0 1 0 0-5M17 14c2.5.3 4 2 4 4.5",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 12h16", stop: "M7 7h10v10H7z", exclude: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM6.5 6.5l11 11", unsure: "M9 9a3 3 0 1 1 4.2 2.8c-.8.4-1.2 1-1.2 2.2M12 18v.4", download: "M12 4v11M7 11l5 5 5-5M5 20h14",
};

/** Return an icon of the set above; it is hidden from screen readers. */
export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** Return a button with an icon, a text or both, and the key that does the same. */
export function button({ name, image, key, run, kind = "", label = "", title, disabled = false, pressed }) {
  const hint = title ?? (key ? `${name} (${key})` : name);
  const attributes = { type: "button", class: `button ${kind}`, title: hint, "aria-label": label ? null : hint, disabled, "aria-pressed": pressed === undefined ? null : String(pressed) };
  const element = h("button", attributes, image && icon(image), label && h("span", {}, label), key && label && h("kbd", {}, key));
  element.addEventListener("click", (event) => {
    if (event.detail > 0) element.blur(); // after a mouse click, keys are for the screen again
    run(event);
  });
  return element;
}

/** Return the parts of a text: what stands between backticks is code. */
export const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));

/** Seconds -> "1:02.25" or "1:02" without the hundredths. */
export function clock(seconds, exact = false) {
  const whole = Math.max(0, exact ? Math.round(seconds * 100) / 100 : Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = whole % 60;
  const last = exact ? rest.toFixed(2).padStart(5, "0") : String(Math.floor(rest)).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${last}` : `${minutes}:${last}`;
}

/** 0.8304 -> "83.0%". */
export function percent(share) {
  return share === null || share === undefined || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)}%`;
}

/** 1, "video" -> "1 video"; 2, "video" -> "2 videos". */
export function count(number, word, plural = `${word}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? word : plural}`;
}
