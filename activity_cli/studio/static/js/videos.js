/** Videos: the library as a grid of which only the visible part exists. */
import { post } from "./api.js";
import { button, count, fill, h, icon } from "./dom.js";
import { emptyState, toast } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { Listing } from "./listing.js";
import { edit, labelOfKey, loadProject, on, store } from "./store.js";
import { cellOf, fillCell } from "./videos_cell.js";
import { askGroup, chooseFiles, trySample } from "./videos_actions.js";

const GAP = 12;
const META = 66; // pixels under the picture
const STATES = [["", "All", "clips"], ["new", "New", "new"], ["labelled", "Labelled", "labelled"], ["suggested", "Suggested", "suggested"], ["corrected", "Corrected", "corrected"], ["unsure", "Unsure", "unsure"], ["excluded", "Excluded", "excluded"], ["damaged", "Damaged", "damaged"]];
const SORTS = [["name", "Name"], ["worth", "Most worth labelling"], ["length", "Length"], ["state", "State"]];

let query = { q: "", state: "", label: "", sort: "name" }; // stays while other screens are open

export async function open(host, [what]) {
  const screen = new VideosScreen(host);
  await screen.reload();
  if (what === "search") screen.search.focus();
  return () => screen.close();
}

class VideosScreen {
  constructor(host) {
    this.cells = new Map(); // element per position
    this.chosen = new Set();
    this.focus = 0;
    this.build(host);
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.scroller);
    this.ends = [on("project", () => this.showProject()), on("clips", (ids) => this.refresh(ids)), on("stale", (ids) => this.stale(ids))];
    setScreenKeys(this.keys());
  }

  build(host) {
    this.search = h("input", { class: "field", type: "search", placeholder: "Search names", value: query.q, "aria-label": "Search names", spellcheck: "false" });
    this.search.addEventListener("input", () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.ask({ q: this.search.value }), 160); });
    this.search.addEventListener("keydown", (event) => { if (event.key === "Escape" || event.key === "Enter") this.search.blur(); });
    this.states = h("select", { class: "field", "aria-label": "State", onchange: () => { this.ask({ state: this.states.value }); this.states.blur(); } });
    this.labels = h("select", { class: "field", "aria-label": "Label", onchange: () => { this.ask({ label: this.labels.value }); this.labels.blur(); } });
    this.sort = h("select", { class: "field", "aria-label": "Sort", onchange: () => { this.ask({ sort: this.sort.value }); this.sort.blur(); } }, SORTS.map(([value, name]) => h("option", { value }, name)));
    this.sort.value = query.sort;
    this.bar = h("div", { class: "selection", hidden: true });
    this.notices = h("div", { class: "notices" });
    this.spacer = h("div", { class: "grid-spacer", role: "listbox", "aria-label": "Videos", "aria-multiselectable": "true" });
    this.scroller = h("div", { class: "grid-scroller", tabindex: "-1" }, this.spacer);
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.total = h("span", { class: "dim", role: "status" });
    this.nothing = h("div", { class: "grid-nothing", hidden: true });
    fill(host, h("header", { class: "head" }, h("h1", {}, "Videos"), this.total, h("span", { class: "grow" }),
      h("span", { class: "search" }, icon("search"), this.search, h("kbd", {}, "/")), this.states, this.labels, this.sort,
      button({ name: "Add videos", label: "Add", image: "plus", run: chooseFiles })), this.notices, this.bar, h("div", { class: "grid-box" }, this.scroller, this.nothing));
  }

  ask(change) {
    query = { ...query, ...change };
    this.scroller.scrollTop = 0;
    this.focus = 0;
    this.reload();
  }

  async reload() {
    const listing = new Listing(query);
    this.asked = listing;
    await listing.load(0);
    await listing.reload([...this.cells.keys()].filter((index) => index < listing.total)); // those in sight
    if (this.asked !== listing) return;
    store.listing = this.listing = listing; // the order in which Label goes on
    this.focus = Math.min(this.focus, Math.max(0, listing.total - 1));
    this.showProject();
    this.layout();
  }

  showProject() {
    const { counts, labels } = store.project;
    const filtered = query.q || query.state || query.label;
    this.total.textContent = !this.listing ? "" : filtered ? `${this.listing.total.toLocaleString("en")} of ${count(counts.clips, "video")}` : count(counts.clips, "video");
    const states = STATES.filter(([value, , key]) => !value || (counts[key] ?? 1) > 0 || query.state === value);
    fill(this.states, states.map(([value, name, key]) => h("option", { value }, counts[key] === undefined ? name : `${name} (${counts[key]})`)));
    this.states.value = query.state;
    fill(this.labels, h("option", { value: "" }, "Any label"), labels.map(({ name, clips }) => h("option", { value: name }, `${name} (${clips})`)));
    this.labels.value = query.label;
    this.showNotices();
    this.showNothing();
  }

  showNotices() {
    const { suggestions, problem } = store.project;
    const bad = problem && h("div", { class: "notice bad" }, icon("warn"), h("p", {}, `labels.csv is not written: ${problem} Everything is kept meanwhile.`));
    fill(this.notices, bad, suggestions.map(({ kind, text }) => h("div", { class: "notice" }, icon(kind === "groups" ? "group" : "label"), h("p", {}, text),
      button({ name: kind === "groups" ? "Make them groups" : "Use as labels", label: kind === "groups" ? "Make them groups" : "Use as labels", kind: "small", run: () => edit([{ op: kind === "groups" ? "suggested_groups" : "suggested_labels" }], text) }))));
  }

  showNothing() {
    if (!this.listing) return;
    this.nothing.hidden = this.listing.total > 0;
    this.scroller.hidden = !this.nothing.hidden;
    if (this.listing.total) return;
    const image = icon("film");
    if (!store.project.counts.clips) {
      fill(this.nothing, emptyState(image, "No videos yet", `Drop videos onto this page, or copy them into ${store.project.folder} and look again. They stay on this computer.`,
        button({ name: "Add videos", label: "Add videos", image: "plus", kind: "primary", run: chooseFiles }), button({ name: "Look again", label: "Look again", run: () => rescan(this) }), trySample()));
    } else fill(this.nothing, emptyState(icon("search"), "No video fits", "Change the search or the filter.", button({ name: "Show all", label: "Show all", run: () => { this.search.value = ""; this.ask({ q: "", state: "", label: "" }); } })));
  }

  layout() {
    if (!this.listing) return;
    const width = this.scroller.clientWidth - 2 * 20;
    if (width <= 0) return;
    this.columns = Math.max(1, Math.floor((width + GAP) / (196 + GAP)));
    this.cellWidth = (width - GAP * (this.columns - 1)) / this.columns;
    this.rowHeight = Math.round(this.cellWidth * 0.5625) + META + GAP;
    this.spacer.style.setProperty("height", `${Math.ceil(this.listing.total / this.columns) * this.rowHeight + 20}px`);
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.draw();
  }

  draw() {
    if (!this.listing?.total || !this.rowHeight) return;
    const top = this.scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - 1) * this.columns;
    const last = Math.min(this.listing.total, (Math.ceil((top + this.scroller.clientHeight) / this.rowHeight) + 1) * this.columns);
    for (const [index, cell] of this.cells) if (index < first || index >= last) { cell.remove(); this.cells.delete(index); }
    for (let index = first; index < last; index++) {
      if (this.cells.has(index)) continue;
      const cell = cellOf({ open: () => this.openClip(index), choose: () => this.choose(index), group: () => this.listing.at(index) && askGroup([this.listing.at(index)]), focus: () => this.setFocus(index, false) });
      cell.style.setProperty("width", `${this.cellWidth}px`);
      cell.style.setProperty("transform", `translate(${(index % this.columns) * (this.cellWidth + GAP)}px, ${Math.floor(index / this.columns) * this.rowHeight}px)`);
      this.cells.set(index, cell);
      this.spacer.append(cell);
      this.show(index);
    }
  }

  show(index) {
    const cell = this.cells.get(index);
    const clip = this.listing.at(index, () => this.redraw());
    if (cell) fillCell(cell, clip, { chosen: clip !== null && this.chosen.has(clip.id), focused: index === this.focus });
  }

  redraw() { for (const index of this.cells.keys()) this.show(index); }

  refresh(ids) { for (const [index] of this.cells) if (!ids.length || ids.includes(this.listing.ids[index])) this.show(index); }

  // Clips were opened by the server or predicted: ask again for those in sight; [] = others may be there.
  stale(ids) {
    if (!ids.length) this.isNew = true;
    this.reloading ??= setTimeout(() => this.catchUp().catch(() => {}).finally(() => {
      this.reloading = null; // one after another: each ends before what came meanwhile is asked for
      if (this.isStale) { this.isStale = false; this.stale(["later"]); }
    }), 400);
    this.isStale = true;
  }

  async catchUp() {
    this.isStale = false;
    if (this.isNew) { this.isNew = false; await this.reload(); return; }
    await this.listing?.reload([...this.cells.keys()]);
    this.redraw();
  }

  openClip(index) {
    const id = this.listing.ids[index];
    if (id) location.hash = `#/label/${id}`;
  }

  setFocus(index, scroll = true) {
    const before = this.focus;
    this.focus = Math.max(0, Math.min(this.listing.total - 1, index));
    const top = Math.floor(this.focus / this.columns) * this.rowHeight;
    const view = this.scroller;
    if (scroll && top < view.scrollTop) view.scrollTop = top;
    if (scroll && top + this.rowHeight > view.scrollTop + view.clientHeight) view.scrollTop = top + this.rowHeight - view.clientHeight;
    this.draw();
    this.show(before);
    this.show(this.focus);
    if (scroll) this.cells.get(this.focus)?.querySelector(".thumb").focus({ preventScroll: true, focusVisible: true });
  }

  choose(index) {
    const id = this.listing.ids[index];
    if (!id) return;
    if (!this.chosen.delete(id)) this.chosen.add(id);
    this.focus = index;
    this.showChosen();
    this.redraw();
  }

  showChosen() {
    const number = this.chosen.size;
    this.bar.hidden = !number;
    if (!number) return;
    fill(this.bar, h("b", {}, `${count(number, "video")} chosen`), h("span", { class: "dim" }, "Keys 1 to 9 label them."), h("span", { class: "grow" }),
      button({ name: "Group", label: "Group", key: "G", kind: "small", run: () => askGroup(this.acted()) }),
      button({ name: "Exclude", label: "Exclude", key: "X", kind: "small", run: () => this.flag("excluded") }),
      button({ name: "Choose none", label: "Choose none", key: "Esc", kind: "small", run: () => this.chooseNone() }));
  }

  chooseNone() { this.chosen.clear(); this.showChosen(); this.redraw(); }

  /** Return what a key acts on: the chosen clips, else the one with the focus. */
  acted() {
    const ids = this.chosen.size ? [...this.chosen] : [this.listing.ids[this.focus]];
    return ids.map((id) => store.clips.get(id)).filter(Boolean);
  }

  flag(flag) {
    const clips = this.acted();
    const next = clips.every((clip) => clip.flag === flag) ? "" : flag;
    edit(clips.map((clip) => ({ op: "flag", clip: clip.id, flag: next })), next ? `mark ${count(clips.length, "video")} as ${next}` : `unmark ${count(clips.length, "video")}`);
  }

  label(key) {
    const label = labelOfKey(key);
    const clips = this.acted();
    if (!label || !clips.length) return;
    edit(clips.map((clip) => ({ op: "label", clip: clip.id, label })), `label ${label} on ${clips.length === 1 ? clips[0].name : count(clips.length, "video")}`);
    toast(`${label}: ${clips.length === 1 ? clips[0].name : count(clips.length, "video")}.`);
  }

  keys() {
    const move = (keys, shown, name, steps) => ({ keys, shown, name, group: "Videos", repeat: true, run: () => this.setFocus(this.focus + steps()) });
    const key = (keys, name, run, shown) => ({ keys, name, group: "Videos", run, shown });
    return [
      move(["ArrowLeft"], "←", "Video before", () => -1), move(["ArrowRight"], "→", "Video after", () => 1),
      move(["ArrowUp"], "↑", "Row above", () => -this.columns), move(["ArrowDown"], "↓", "Row below", () => this.columns),
      key(["Enter"], "Open in Label", () => this.openClip(this.focus)),
      key(["Space"], "Choose or not", () => this.choose(this.focus)),
      key(["Escape"], "Choose none", () => this.chooseNone(), "Esc"),
      key([..."0123456789"], "Label of the video or of all chosen ones", (event) => this.label(event.code.at(-1)), "0 – 9"),
      key(["G"], "Group", () => askGroup(this.acted())), key(["X"], "Exclude", () => this.flag("excluded")), key(["U"], "Unsure", () => this.flag("unsure")),
      key(["/"], "Search", () => this.search.focus()), key(["R"], "Look at the folder again", () => rescan(this)),
    ];
  }

  close() {
    clearTimeout(this.reloading);
    this.observer.disconnect();
    for (const end of this.ends) end();
  }
}

async function rescan(screen) {
  const { added, removed } = await post("/api/rescan");
  toast(added || removed ? `${count(added, "video")} added, ${removed} gone.` : "Nothing new in the folder.");
  await loadProject();
  await screen.reload();
}
