/** Short messages, questions and the curtain over a page whose server has ended. */
import { button, h } from "./dom.js";

/** Show a line for a few seconds, with an action if wanted; bad ones stay longer. */
export function toast(text, { hint = "", bad = false, action = null } = {}) {
  const host = document.getElementById("toasts");
  const same = [...host.children].find((shown) => shown.dataset.text === text);
  same?.remove();
  const shown = h("div", { class: `toast ${bad ? "bad" : ""}`, "data-text": text }, h("span", {}, hint ? `${text} ${hint}` : text),
    action && button({ name: action.name, label: action.name, kind: "small", run: () => { shown.remove(); action.run(); } }));
  host.append(shown);
  while (host.children.length > 3) host.firstChild.remove();
  setTimeout(() => shown.remove(), bad ? 9000 : 3200);
}

export function problem({ text, hint = "", quiet = false }) {
  toast(text, { hint, bad: !quiet });
}

/** Ask for a line of text; resolves to it, or to null. */
export function askText({ title, label, value = "", confirm = "OK", options = [], note = "" }) {
  return new Promise((resolve) => {
    const list = options.length ? h("datalist", { id: "ask-options" }, options.map((o) => h("option", { value: o }))) : null;
    const input = h("input", { class: "field", value, maxlength: 200, list: list ? "ask-options" : null, autocomplete: "off", spellcheck: "false" });
    const dialog = openDialog(title, [h("label", {}, label, input), list, note && h("p", { class: "dim small" }, note)], confirm, () => input.value.trim(), resolve);
    input.select();
    return dialog;
  });
}

/** Ask a question that is confirmed or not; resolves to true or false. */
export function confirmDialog({ title, text, confirm }) {
  return new Promise((resolve) => {
    openDialog(title, [h("p", {}, text)], confirm, () => true, (answer) => resolve(answer === true));
  });
}

function openDialog(title, content, confirm, read, resolve) {
  const dialog = h("dialog", { "aria-label": title });
  const cancel = button({ name: "Cancel", label: "Cancel", run: () => dialog.close() });
  const form = h("form", { method: "dialog" }, h("h2", {}, title), content,
    h("div", { class: "row end" }, cancel, h("button", { class: "button primary", type: "submit" }, confirm)));
  let answer = null;
  form.addEventListener("submit", (event) => { event.preventDefault(); answer = read(); dialog.close(); });
  dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Cover the page: the server has ended or does not answer. */
export function drawCurtain({ title, text, command }) {
  if (document.querySelector(".curtain")) return;
  document.body.append(h("div", { class: "curtain", role: "alertdialog", "aria-label": title },
    h("div", { class: "card" }, h("h2", {}, title), h("p", { class: "dim" }, text), command && h("code", {}, command))));
}

export function liftCurtain() {
  document.querySelector(".curtain")?.remove();
}

/** Return an empty state: what is not there yet, and what to do. */
export function emptyState(image, title, text, ...actions) {
  return h("div", { class: "empty" }, image, h("h2", {}, title), h("p", {}, text), h("div", { class: "row" }, actions));
}

/** Return a box with a command and a button that copies it. */
export function copyBox(text) {
  const copy = button({ name: "Copy the command", label: "Copy", image: "copy", run: async () => {
    try { await navigator.clipboard.writeText(text); } catch { select(box.firstChild); document.execCommand("copy"); }
    toast("Copied.");
  } });
  const box = h("div", { class: "copy" }, h("code", {}, text), copy);
  return box;
}

function select(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}
