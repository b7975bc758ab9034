/** The clips of a filter in their order, loaded page by page as they are wanted. */
import { get } from "./api.js";
import { keepClips, store } from "./store.js";

const PAGE = 200;

export class Listing {
  /** query: {state, label, group, q, sort}; the order stays as it was loaded while labels change. */
  constructor(query = {}) {
    this.query = query;
    this.total = 0;
    this.ids = [];
    this.pages = new Map();
  }

  /** Return the clip at a position, or null and begin to load it. */
  at(index, loaded = null) {
    const id = this.ids[index];
    if (id) return store.clips.get(id) ?? null;
    if (index >= 0 && index < this.total) this.load(index).then(() => loaded?.());
    return null;
  }

  /** Load the page that holds a position. */
  load(index = 0) {
    const page = Math.max(0, Math.floor(index / PAGE));
    if (!this.pages.has(page)) {
      const asked = get("/api/clips", { ...this.query, offset: page * PAGE, limit: PAGE }).then((answer) => {
        this.total = answer.total;
        keepClips(answer.clips).forEach((clip, i) => { this.ids[page * PAGE + i] = clip.id; });
      });
      asked.catch(() => this.pages.delete(page));
      this.pages.set(page, asked);
    }
    return this.pages.get(page);
  }

  /** Load the pages of some positions again. */
  async reload(indices) {
    const pages = new Set(indices.map((index) => Math.floor(index / PAGE)));
    for (const page of pages) this.pages.delete(page);
    await Promise.all([...pages].map((page) => this.load(page * PAGE)));
  }

  /** Return the position of a clip, -1 if it is not in the list; pages are loaded until it is found. */
  async find(id) {
    await this.load(0);
    let index = this.ids.indexOf(id);
    for (let at = PAGE; index < 0 && at < this.total; at += PAGE) {
      await this.load(at);
      index = this.ids.indexOf(id);
    }
    return index;
  }

  /** Return the first position from `start` on whose clip passes, -1 without one. */
  async search(start, passes) {
    for (let index = start; index < this.total; index++) {
      if (!this.ids[index]) await this.load(index);
      const clip = store.clips.get(this.ids[index]);
      if (clip && passes(clip)) return index;
    }
    return -1;
  }
}
