/** The right side of the Label screen: the palette, the segments of the clip, the suggestion. */
import { button, clock, count, fill, h, percent } from "./dom.js";
import { askText } from "./feedback.js";
import { chip, swatch } from "./labels.js";
import { wholeLabel } from "./segments.js";
import { edit, palette, store } from "./store.js";

export class LabelPanel {
  constructor(screen) {
    this.screen = screen;
    this.labels = h("div", { class: "palette" });
    this.suggestion = h("div", { class: "suggestion" });
    this.segments = h("ol", { class: "segments", "aria-label": "Segments of this clip" });
    this.segmentsTitle = h("h3", {});
    this.input = h("input", { class: "field", placeholder: "New label (A)", maxlength: 80, "aria-label": "New label", autocomplete: "off", spellcheck: "false" });
    const form = h("form", { class: "new-label", onsubmit: (event) => { event.preventDefault(); this.addLabel(); } }, this.input,
      h("button", { type: "submit", class: "button", title: "Add the label" }, "Add"));
    this.input.addEventListener("keydown", (event) => { if (event.key === "Escape") this.input.blur(); });
    this.element = h("aside", { class: "label-panel", "aria-label": "Labels" },
      h("section", {}, h("h3", {}, "Labels"), this.labels, form), this.suggestion, h("section", { class: "segments-box" }, this.segmentsTitle, this.segments));
  }

  async addLabel() {
    const label = this.input.value.trim();
    if (!label) return;
    const added = await edit([{ op: "add_label", label }], `add the label ${label}`);
    if (!added) return;
    this.input.value = "";
    this.input.blur(); // keys label again
  }

  show() {
    const { clip } = this.screen;
    if (!clip) return;
    const now = wholeLabel(clip);
    const labels = palette();
    const background = store.project.background;
    const rows = labels.map((label) => this.row(label, now === label.name));
    rows.push(this.row({ name: background, key: "0", clips: this.countOf(background), needs: 0, background: true }, now === background));
    this.showSuggestion();
    this.showSegments();
    const signature = JSON.stringify([store.project.labels, background, now]);
    if (signature === this.shown) return;
    this.shown = signature;
    const focused = document.activeElement?.dataset?.label;
    fill(this.labels, labels.length ? null : h("p", { class: "dim small" }, "Name the first thing that happens in your videos, such as walk or fight. A second label makes it a choice."), rows);
    if (focused) rows.find((row) => row.dataset.label === focused)?.focus();
  }

  countOf(name) { return store.project.labels.find((label) => label.name === name)?.clips ?? 0; }

  row(label, isNow) {
    const note = label.needs > 0 ? `needs ${label.needs} more` : "";
    const element = h("button", { type: "button", class: "label-row", "aria-pressed": String(isNow), "data-label": label.name, title: label.name },
      swatch(label.name, "tall"),
      h("span", { class: "label-name" }, h("span", { class: "clip-text" }, label.name), h("small", {}, note || count(label.clips + (label.segments ?? 0), "example"))),
      label.key && h("kbd", {}, label.key));
    element.addEventListener("pointerdown", (event) => { event.preventDefault(); this.screen.press(label.name); addEventListener("pointerup", () => this.screen.release(label.name), { once: true }); });
    element.addEventListener("click", (event) => { if (event.detail === 0) { this.screen.press(label.name); this.screen.release(label.name); } }); // by the keyboard
    element.addEventListener("contextmenu", (event) => { event.preventDefault(); if (!label.background) this.rename(label.name); });
    element.addEventListener("keydown", (event) => { if (event.key === "F2" && !label.background) this.rename(label.name); });
    return element;
  }

  async rename(label) {
    const to = await askText({ title: "Rename the label", label: "New name", value: label, confirm: "Rename", note: "Everywhere in this project. With the name of another label, both become one." });
    if (to && to !== label) edit([{ op: "rename_label", label, to }], `rename ${label} to ${to}`);
  }

  /** Show for a moment which label was given. */
  flash(label) {
    const row = [...this.labels.children].find((r) => r.dataset.label === label);
    row?.animate?.([{ background: "var(--accent-soft)" }, { background: "transparent" }], 500);
  }

  showSuggestion() {
    const { clip } = this.screen;
    const guess = clip.prediction;
    const answered = clip.segments.length && clip.state !== "corrected";
    this.suggestion.hidden = !guess || answered;
    if (this.suggestion.hidden) return;
    fill(this.suggestion, h("h3", {}, "The model's suggestion"), h("div", { class: "row" }, chip(guess.label, "suggested", percent(guess.score)), h("span", { class: "grow" }),
      button({ name: "Accept", label: "Accept", key: "Enter", kind: "small", run: () => this.screen.accept() })));
  }

  showSegments() {
    const { screen } = this;
    if (!screen.clip) return;
    const { spans, isWhole } = screen;
    const signature = JSON.stringify([spans, isWhole, screen.selected, screen.painter.active?.label]);
    if (signature === this.signature) return;
    this.signature = signature;
    const painting = screen.painter.active;
    this.segmentsTitle.textContent = isWhole ? "Whole clip" : `Segments${spans.length ? ` (${spans.length})` : ""}`;
    if (!spans.length && !painting) {
      return void fill(this.segments, h("li", { class: "dim small" }, isWhole ? "No label yet: press its key, and the next clip comes." : "Nothing yet. Play, and hold a label's key while it happens; or tap the key at its start and again at its end."));
    }
    return void fill(this.segments, painting && h("li", { class: "painting" }, chip(painting.label, "", "is being painted")), spans.map((span) => this.segmentRow(span)));
  }

  segmentRow(span) {
    const { screen } = this;
    const element = h("button", { type: "button", class: "segment-row", "aria-pressed": String(span === screen.selected) },
      swatch(span.label), h("span", { class: "clip-text" }, span.label), h("small", { class: "dim" }, `${clock(span.start, true)} – ${clock(span.end, true)}`));
    element.addEventListener("click", (event) => {
      if (event.detail) element.blur();
      screen.player.pause();
      screen.player.seek(Math.round(span.start * screen.fps));
      screen.select(span);
    });
    return h("li", {}, element);
  }
}
