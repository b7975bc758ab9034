/** Labels as they look everywhere: colour of the program's palette, pattern and letters. */
import { h } from "./dom.js";

const NUM_PATTERNS = 6;
const GREY = "#9ca3af";
let styles = new Map();
let background = "background";

/** Set the labels in their order, [{name, colour}], and the one that means that nothing happens. */
export function setLabels(labels, nothing) {
  background = nothing;
  const taken = new Set();
  styles = new Map(labels.map(({ name, colour }, index) => [name, { colour, ink: inkOn(colour), pattern: index % NUM_PATTERNS, letter: letterOf(name, taken) }]));
}

export const isBackground = (name) => name === background;

/** Return {colour, ink, pattern, letter} of a label; unknown ones are grey. */
export function styleOf(name) {
  return styles.get(name) ?? { colour: GREY, ink: "#0b0f17", pattern: 0, letter: [...(name || "?")][0].toUpperCase() };
}

// The first letter of the name that no other label has.
function letterOf(name, taken) {
  const letters = [...name.toUpperCase()].filter((c) => /[\p{L}\p{N}]/u.test(c));
  const letter = letters.find((c) => !taken.has(c)) ?? letters[0] ?? "?";
  taken.add(letter);
  return letter;
}

// Black or white, whichever has more contrast (WCAG 2): at least 4.5 on every colour.
function inkOn(colour) {
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = [1, 3, 5].map((at) => linear(parseInt(colour.slice(at, at + 2), 16) / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.19 ? "#0b0f17" : "#ffffff";
}

/** Return a swatch of a label: colour, pattern and letter. */
export function swatch(name, kind = "") {
  if (isBackground(name)) return h("span", { class: `swatch background ${kind}`, "aria-hidden": "true" }, "0");
  const { colour, ink, pattern, letter } = styleOf(name);
  return h("span", { class: `swatch pattern-${pattern} ${kind}`, style: { "--colour": colour, "--on": ink }, "aria-hidden": "true" }, letter);
}

/** Return a chip: swatch and name. */
export function chip(name, kind = "", note = "") {
  return h("span", { class: `chip ${kind}`, title: name }, swatch(name), h("span", { class: "clip-text" }, name), note && h("small", {}, note));
}

const tiles = new Map();

/** Return a canvas fill of a label: the pattern of its swatch, hatched for a suggestion. */
export function fillOf(context, name, suggested = false) {
  const { colour, ink, pattern } = styleOf(name);
  const key = `${colour} ${suggested ? "s" : pattern}`;
  if (!tiles.has(key)) tiles.set(key, tileOf(colour, ink, suggested ? -1 : pattern));
  return context.createPattern(tiles.get(key), "repeat");
}

function tileOf(colour, ink, pattern) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 12;
  const c = tile.getContext("2d");
  c.fillStyle = colour;
  c.globalAlpha = pattern < 0 ? 0.22 : 1;
  c.fillRect(0, 0, 12, 12);
  c.strokeStyle = pattern < 0 ? colour : ink;
  c.fillStyle = ink;
  c.globalAlpha = pattern < 0 ? 0.9 : 0.3;
  c.lineWidth = 2;
  const line = (x1, y1, x2, y2) => { c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2); c.stroke(); };
  const falling = () => { line(-3, -3, 15, 15); line(-3, 9, 3, 15); line(9, -3, 15, 3); };
  const rising = () => { line(-3, 15, 15, -3); line(-3, 3, 3, -3); line(9, 15, 15, 9); };
  if (pattern === 1 || pattern === 5) rising();
  if (pattern < 0 || pattern === 2 || pattern === 5) falling();
  if (pattern === 3) { c.beginPath(); c.arc(3, 3, 1.5, 0, 7); c.arc(9, 9, 1.5, 0, 7); c.fill(); }
  if (pattern === 4) line(0, 6, 12, 6);
  return tile;
}
