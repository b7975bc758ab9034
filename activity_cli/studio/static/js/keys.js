/** Keys of the screen that is shown, and the sheet that lists them. */
import { h } from "./dom.js";

let screenKeys = [];
let globalKeys = [];
const held = new Set();

/**
 * Set the keys of a screen: [{keys: ["Space"], shown: "Space", name, group, run(event), up(event), repeat}].
 * A key is event.code for letters and digits ("KeyK", "Digit1") or event.key; "Shift+" before it.
 */
export function setScreenKeys(bindings) { screenKeys = bindings; held.clear(); }
export function setGlobalKeys(bindings) { globalKeys = bindings; }
export function currentKeys() { return [...screenKeys, ...globalKeys]; }

function isTyping(target) {
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) && target.type !== "checkbox" && target.type !== "radio";
}

function namesOf(event) {
  const shift = event.shiftKey ? "Shift+" : "";
  const digit = /^(Digit|Numpad)(\d)$/.exec(event.code);
  const names = [shift + event.key, event.key];
  if (digit) names.unshift(`${shift}${digit[2]}`);
  if (/^Key[A-Z]$/.test(event.code)) names.unshift(shift + event.key.toUpperCase());
  return event.key === " " ? [`${shift}Space`] : names;
}

function find(event) {
  const names = namesOf(event);
  // A key with Shift is another key, where the binding does not name it.
  const exact = event.shiftKey && event.key.length > 1 ? names.slice(0, 1) : names;
  for (const name of exact) {
    const found = currentKeys().find((binding) => binding.keys.includes(name));
    if (found) return found;
  }
  return null;
}

function onDown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog || isTyping(event.target)) return;
  const onControl = event.target.matches?.("button:focus-visible, summary:focus-visible, a:focus-visible, input:focus-visible");
  if (onControl && (event.key === " " || event.key === "Enter")) return;
  const binding = find(event);
  if (!binding) return;
  event.preventDefault();
  if (event.repeat && !binding.repeat) return;
  held.add(event.code);
  binding.run(event);
}

function onUp(event) {
  if (!held.delete(event.code)) return;
  const binding = find(event);
  if (binding?.up) binding.up(event);
}

/** Release what is held: the window lost the keyboard, so no key-up will come. */
function releaseAll() {
  held.clear();
  for (const binding of screenKeys) if (binding.lost) binding.lost();
}

export function listen() {
  addEventListener("keydown", onDown);
  addEventListener("keyup", onUp);
  addEventListener("blur", releaseAll);
}

/** Open the sheet of all keys that work now. */
export function showSheet() {
  const groups = new Map();
  for (const binding of currentKeys()) {
    if (!groups.has(binding.group)) groups.set(binding.group, []);
    groups.get(binding.group).push(binding);
  }
  const close = h("button", { type: "button", class: "button", onclick: () => sheet.close() }, h("span", {}, "Close"), h("kbd", {}, "Esc"));
  const sheet = h("dialog", { class: "sheet", "aria-label": "Keys" },
    h("header", {}, h("h2", {}, "Keys"), h("p", { class: "dim" }, "They rest while you type in a field."), close),
    h("div", { class: "sheet-groups" }, [...groups].map(([name, bindings]) => h("section", {}, h("h3", {}, name),
      h("dl", {}, bindings.map((b) => h("div", {}, h("dt", {}, (b.shown ?? b.keys[0]).split(" ").map((k) => (k === "–" ? k : h("kbd", {}, k)))), h("dd", {}, b.name))))))));
  sheet.addEventListener("close", () => sheet.remove());
  sheet.addEventListener("keydown", (event) => { if (event.key === "?") sheet.close(); });
  document.body.append(sheet);
  sheet.showModal();
}
