/** A video in the grid: picture, name, length, state, labels, group. */
import { thumbUrl } from "./api.js";
import { clock, fill, h, icon, percent, setText } from "./dom.js";
import { chip } from "./labels.js";
import { store } from "./store.js";
import { clearThumb, loadThumb } from "./thumbs.js";

const STRIP = 8; // frames that the pointer runs through
const WORDS = { new: "", labelled: "Labelled", suggested: "Suggested", corrected: "Corrected", excluded: "Excluded", unsure: "Unsure", damaged: "Damaged" };

/** Return an empty cell; the functions are told what the user does with it. */
export function cellOf({ open, choose, group, focus }) {
  const image = h("img", { alt: "", draggable: "false" });
  const length = h("span", { class: "length" });
  const check = h("input", { type: "checkbox", class: "choose", tabindex: "-1", "aria-label": "Choose", onclick: (event) => { event.stopPropagation(); choose(); } });
  const thumb = h("div", { class: "thumb", role: "option", tabindex: "-1", onclick: open, onfocus: focus }, image, h("span", { class: "no-picture" }, icon("film")), length, check);
  const groupButton = h("button", { type: "button", class: "group-chip", tabindex: "-1", title: "Group (G)", onclick: (event) => { event.currentTarget.blur(); group(); } });
  const cell = h("div", { class: "cell" }, thumb, h("div", { class: "cell-name" }, h("span", { class: "name clip-text" }), h("span", { class: "state", hidden: true })),
    h("div", { class: "cell-meta" }, h("span", { class: "cell-label" }), groupButton));
  image.addEventListener("error", () => cell.classList.add("broken"));
  image.addEventListener("load", () => cell.classList.remove("broken"));
  thumb.addEventListener("pointermove", (event) => scrub(cell, thumb, event));
  thumb.addEventListener("pointerleave", () => cell.querySelector(".strip")?.remove());
  return cell;
}

/** Show a clip in a cell; null while it is loaded. */
export function fillCell(cell, clip, { chosen, focused }) {
  cell.classList.toggle("chosen", chosen);
  const thumb = cell.querySelector(".thumb");
  thumb.tabIndex = focused ? 0 : -1;
  if (!clip) { cell.classList.add("loading"); return; }
  cell.classList.remove("loading");
  thumb.setAttribute("aria-selected", String(chosen));
  thumb.setAttribute("aria-label", `${clip.name}, ${clip.state}`);
  cell.dataset.id = clip.id;
  cell.querySelector(".choose").checked = chosen;
  const image = cell.querySelector("img");
  const address = thumbUrl(clip, { height: 150 });
  if (!hasPicture(clip)) { cell.classList.toggle("broken", Boolean(clip.damage)); clearThumb(image); }
  else loadThumb(image, address);
  cell.classList.toggle("off", clip.flag === "excluded");
  setText(cell.querySelector(".length"), clip.duration === null ? "" : clock(clip.duration));
  const name = cell.querySelector(".name");
  setText(name, clip.name);
  name.title = clip.damage ? `${clip.name}: ${clip.damage}` : clip.name;
  const state = cell.querySelector(".state");
  const word = WORDS[clip.state] ?? clip.state;
  state.hidden = !word || clip.state === "labelled" || clip.state === "suggested";
  state.className = `state ${clip.state}`;
  setText(state, word);
  fill(cell.querySelector(".cell-label"), labelsOf(clip));
  const group = cell.querySelector(".group-chip");
  setText(group, clip.group || "+ group");
  group.classList.toggle("none", !clip.group);
}

function labelsOf(clip) {
  if (clip.damage && !clip.segments.length) return h("span", { class: "dim small clip-text", title: clip.damage }, clip.damage);
  const labels = [...new Set(clip.segments.map((s) => s.label))];
  if (labels.length) return [chip(labels[0]), labels.length > 1 && h("small", { class: "dim" }, ` +${labels.length - 1}`)];
  if (clip.prediction) return chip(clip.prediction.label, "suggested", percent(clip.prediction.score));
  return h("span", { class: "dim small" }, "No label");
}

/** Return whether a picture of a video can be asked for: it was opened, and has frames. */
export const hasPicture = (clip) => Boolean(clip.frames);

// The pointer runs through the video.
function scrub(cell, thumb, event) {
  const clip = store.clips.get(cell.dataset.id);
  if (!clip?.duration || cell.classList.contains("broken") || event.pointerType === "touch") return;
  let strip = thumb.querySelector(".strip");
  if (!strip) {
    strip = h("div", { class: "strip" }, h("img", { alt: "" }));
    thumb.querySelector("img").after(strip);
    loadThumb(strip.firstChild, thumbUrl(clip, { count: STRIP, height: 120 }));
  }
  const box = thumb.getBoundingClientRect();
  const at = Math.max(0, Math.min(STRIP - 1, Math.floor(((event.clientX - box.left) / box.width) * STRIP)));
  strip.firstChild.style.setProperty("transform", `translateX(${(-100 * at) / STRIP}%)`);
}
