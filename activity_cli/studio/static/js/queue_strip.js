/** The clips around the one that is shown: small pictures with their labels. */
import { thumbUrl } from "./api.js";
import { fill, h } from "./dom.js";
import { swatch } from "./labels.js";
import { loadThumb } from "./thumbs.js";
import { hasPicture } from "./videos_cell.js";

const BEFORE = 2;
const SHOWN = 16;
const CELL = 98; // pixels, with its gap

export class QueueStrip {
  constructor(go) {
    this.go = go;
    this.element = h("nav", { class: "queue", "aria-label": "Clips that come next" });
  }

  show(listing, index) {
    Object.assign(this, { listing, index });
    const first = Math.max(0, Math.min(index - BEFORE, listing.total - SHOWN));
    const cells = [];
    this.ids = [];
    for (let at = first; at < Math.min(listing.total, first + SHOWN); at++) {
      const clip = listing.at(at, () => this.show(listing, this.index));
      this.ids.push(clip?.id);
      cells.push(this.cell(clip, at));
    }
    fill(this.element, cells);
    this.element.scrollLeft = Math.max(0, (index - first - BEFORE) * CELL);
  }

  /** Show again what changed, if it is among these. */
  refresh(ids) {
    if (this.listing && (!ids.length || ids.some((id) => this.ids.includes(id)))) this.show(this.listing, this.index);
  }

  cell(clip, at) {
    if (!clip) return h("span", { class: "queue-cell" });
    const labels = [...new Set(clip.segments.map((s) => s.label))].slice(0, 4);
    const element = h("button", { type: "button", class: `queue-cell ${clip.flag || clip.damage ? "off" : ""} ${hasPicture(clip) ? "" : "broken"}`, "aria-current": at === this.index ? "true" : null, title: clip.name },
      h("img", { alt: clip.name }),
      h("span", { class: "queue-labels" }, labels.map((label) => swatch(label))));
    element.addEventListener("click", (event) => { if (event.detail) element.blur(); this.go(at); });
    if (hasPicture(clip)) loadThumb(element.firstChild, thumbUrl(clip, { height: 60 }));
    element.firstChild.addEventListener("error", () => element.classList.add("broken"));
    return element;
  }
}
