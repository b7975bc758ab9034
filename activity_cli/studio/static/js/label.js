/** Label: a player, the palette, the track under it, and the clips that come next. */
import { get, thumbUrl } from "./api.js";
import { button, clock, fill, h, icon, setText } from "./dom.js";
import { emptyState, toast } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { chip } from "./labels.js";
import { LabelPanel } from "./label_panel.js";
import { labelKeys } from "./label_keys.js";
import { Listing } from "./listing.js";
import { loadMedia } from "./media.js";
import { Painter } from "./painter.js";
import { Player, SPEEDS } from "./player.js";
import { QueueStrip } from "./queue_strip.js";
import { disagreement, durationOf, moveEdge, nearestEdge, painted, spanAt, spansOf, wholeLabel, wireOf } from "./segments.js";
import { edit, keepClips, loadClip, on, redo, store, undo } from "./store.js";
import { Timeline } from "./timeline.js";
import { askGroup, chooseFiles, trySample } from "./videos_actions.js";

const SHORT_SECONDS = 12; // shorter clips are labelled as a whole, unless told otherwise
const MOST_PREFETCHED_BYTES = 30e6; // larger ones would keep a connection busy
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let screen = null;

/** Open the screen at a clip: ["ID"], or at the first one without a label. */
export async function open(host, [id]) {
  if (!store.project.counts.clips) {
    fill(host, emptyState(icon("film"), "No videos yet", "Drop videos onto this page, or copy them into the project's folder.",
      button({ name: "Add videos", label: "Add videos", image: "plus", kind: "primary", run: chooseFiles }), trySample()));
    return () => {};
  }
  screen = new LabelScreen(host);
  await screen.start(id);
  return () => { screen?.close(); screen = null; };
}

/** Show another clip that the address asks for; false if the screen must be opened anew. */
export function change([id]) {
  if (!screen) return false;
  if (id && id !== screen.clip?.id) screen.start(id);
  return true;
}

class LabelScreen {
  constructor(host) {
    this.listing = store.listing ?? new Listing({ sort: "name" });
    this.mode = null; // of the user; null: by the length of the clip
    this.clip = null;
    this.media = null;
    this.prediction = null;
    this.selected = null; // a span of this.spans
    this.marks = {};
    this.build(host);
    this.player = new Player(this.stage);
    this.player.addEventListener("frame", () => this.showFrame());
    this.player.addEventListener("state", () => this.showState());
    this.player.addEventListener("broken", () => this.broken());
    this.painter = new Painter(this.player, { send: (...change) => this.paint(...change), changed: () => this.showRows() });
    this.timeline = new Timeline(this.track, {
      onSeek: (time) => this.player.seek(Math.floor(time * this.fps + 1e-6)),
      onSelect: (span, row) => row.kind === "mine" && this.select(span),
      onEdge: (span, edge, time, done) => this.dragEdge(span, edge, time, done),
    });
    this.ends = [on("clips", (ids) => this.takeChanges(ids)), on("project", () => this.panel.show()), on("proxy", (data) => this.proxyReady(data)),
      on("stale", (ids) => this.refresh(ids))];
    setScreenKeys(labelKeys(this));
  }

  get fps() { return this.media?.fps ?? 25; }
  get spans() {
    if (this.pending) return this.pending;
    if (this.cached?.clip !== this.clip) this.cached = { clip: this.clip, spans: this.clip ? spansOf(this.clip) : [] };
    return this.cached.spans;
  }
  get isWhole() { return this.mode ? this.mode === "whole" : durationOf(this.clip) <= SHORT_SECONDS && (this.clip.segments.length === 0 || wholeLabel(this.clip) !== null); }

  build(host) {
    const act = (name, key, image, run) => button({ name, key, image, kind: "plain", run });
    this.title = h("h1", { class: "clip-text" });
    this.place = h("span", { class: "dim small" });
    this.state = h("span", { class: "state" });
    this.group = h("button", { type: "button", class: "button small", title: "Group (G)", onclick: () => this.askGroup() });
    this.modes = h("div", { class: "segmented", role: "group", "aria-label": "What a key labels (M)" }, ["whole", "segments"].map((mode) =>
      h("button", { type: "button", "data-mode": mode, onclick: (event) => { event.currentTarget.blur(); this.setMode(mode); } }, mode === "whole" ? "Whole clip" : "Segments")));
    this.stage = h("div", { class: "stage" });
    this.cover = h("div", { class: "stage-cover", hidden: true });
    this.playButton = act("Play or pause", "Space", "play", () => this.player.toggle());
    this.speed = h("select", { class: "field speed", title: "Speed (, and .)", "aria-label": "Speed", onchange: () => { this.player.setSpeed(Number(this.speed.value)); this.speed.blur(); } },
      SPEEDS.map((speed) => h("option", { value: speed }, `${speed}×`)));
    this.speed.value = "1";
    this.clockText = h("b", {});
    this.frameText = h("span", { class: "dim" });
    this.badge = h("div", { class: "badge", hidden: true });
    this.segmentTools = h("span", { class: "tools-group" }, act("Set in", "I", "in", () => this.mark("in")), act("Set out", "O", "out", () => this.mark("out")),
      act("Split here", "S", "split", () => this.split()), act("Nearest edge one frame earlier", "[", "edgeback", () => this.nudge(-1)), act("Nearest edge one frame later", "]", "edgeon", () => this.nudge(1)),
      act("Delete the segment", "Delete", "remove", () => this.remove()));
    this.undoButton = act("Undo", "Z", "undo", () => undo());
    this.redoButton = act("Redo", "Shift+Z", "redo", () => redo());
    this.track = h("div", { class: "track" });
    this.panel = new LabelPanel(this);
    this.queue = new QueueStrip((index) => this.go(index));
    fill(host,
      h("header", { class: "head label-head" }, act("Previous clip", "P", "previous", () => this.move(-1)), act("Next clip", "N", "next", () => this.move(1)),
        this.title, this.place, this.state, h("span", { class: "grow" }), this.group, this.modes,
        button({ name: "Next unsure moment", label: "Next unsure", key: "W", run: () => this.nextUnsure() })),
      h("div", { class: "label-grid" },
        h("div", { class: "stage-box" }, this.stage, this.badge, this.cover),
        h("div", { class: "controls" },
          h("span", { class: "tools-group" }, act("Play backwards", "J", "reverse", () => this.player.play(-1)), act("One frame back", "Left", "back", () => this.player.step(-1)), this.playButton, act("One frame on", "Right", "forward", () => this.player.step(1))),
          this.speed, h("span", { class: "clock" }, this.clockText, this.frameText), h("span", { class: "grow" }), this.segmentTools,
          h("span", { class: "tools-group" }, act("Unsure", "U", "unsure", () => this.flag("unsure")), act("Exclude", "X", "exclude", () => this.flag("excluded"))),
          h("span", { class: "tools-group" }, this.undoButton, this.redoButton),
          h("span", { class: "tools-group" }, act("Zoom out", "-", "zoomout", () => this.timeline.zoom(2)), act("Zoom in", "+", "zoomin", () => this.timeline.zoom(0.5)))),
        this.track, this.queue.element, this.panel.element));
  }

  async start(id) {
    await this.listing.load(0);
    let index = id ? await this.listing.find(id) : await this.listing.search(0, isOpen);
    if (id && index < 0) {
      store.listing = this.listing = new Listing({ sort: "name" });
      index = await this.listing.find(id);
    }
    await this.go(Math.max(0, index));
  }

  async go(index, time = null) {
    if (index < 0 || index >= this.listing.total) return;
    this.painter.finish();
    await this.listing.load(index);
    const clip = this.listing.at(index);
    if (!clip) return;
    this.index = index;
    this.clip = clip;
    this.media = null;
    this.prediction = null;
    this.selected = this.pending = null;
    this.marks = {};
    history.replaceState(null, "", `#/label/${clip.id}`);
    this.showClip();
    await this.showMedia(time);
    this.showNeighbours();
  }

  async showMedia(time = null) {
    const { clip } = this;
    const media = await loadMedia(clip).catch((error) => ({ broken: error.message }));
    if (this.clip !== clip && this.clip?.id !== clip.id) return;
    if (media.broken) return this.showCover(media.broken);
    this.cover.hidden = true;
    this.media = media;
    this.player.load(media, time === null ? 0 : Math.floor(time * media.fps + 1e-6));
    this.timeline.setClip({ duration: media.frames / media.fps, fps: media.fps, strip: (start, end, count) => thumbUrl(clip, { start, end, count, height: 60 }) });
    this.showRows();
    this.player.loop = this.isWhole; // a short clip plays again and again while it waits for its label
    if (this.isWhole && time === null && !calm.matches) this.player.play();
    if (clip.prediction) {
      const prediction = await get(`/api/clips/${clip.id}/prediction`).catch(() => null);
      if (this.clip.id === clip.id) { this.prediction = prediction; this.showRows(); }
    }
    return undefined;
  }

  showCover(reason) {
    this.player.pause();
    this.cover.hidden = false;
    this.timeline.setClip({ duration: durationOf(this.clip), fps: 25 });
    this.timeline.setRows([]);
    setText(this.clockText, "");
    setText(this.frameText, "");
    fill(this.cover, emptyState(icon("warn"), "This video cannot be shown", reason || this.clip.damage || "The file is gone or damaged.",
      button({ name: "Exclude", label: "Exclude", key: "X", run: () => this.flag("excluded") }), button({ name: "Next clip", label: "Next", key: "N", run: () => this.move(1) })));
  }

  // A copy that plays smoothly is there: go on with it from the same frame.
  proxyReady({ clip, ready }) {
    if (clip === this.clip?.id && ready && this.media?.making && !this.painter.active) this.showMedia((this.player.frame + 0.5) / this.fps);
  }

  // The browser refused the file after all: show its frames as pictures.
  async broken() {
    if (!this.media || this.media.pictures) return this.showCover(this.clip.damage);
    this.media = await loadMedia(this.clip, { pictures: true });
    return this.player.load(this.media, this.player.frame);
  }

  // Load the next clips while this one is watched.
  async showNeighbours() {
    this.queue.show(this.listing, this.index);
    const next = [1, 2].map((n) => this.listing.at(this.index + n)).filter(Boolean);
    const media = await Promise.all(next.map((clip) => loadMedia(clip).catch(() => null)));
    this.player.prefetch(media.filter((m) => m?.media && m.bytes < MOST_PREFETCHED_BYTES));
  }

  showClip() {
    const { clip } = this;
    setText(this.title, clip.name);
    this.title.title = clip.name;
    setText(this.place, `${(this.index + 1).toLocaleString("en")} of ${this.listing.total.toLocaleString("en")}`);
    setText(this.state, clip.flag || clip.state);
    this.state.className = `state ${clip.state}`;
    fill(this.group, icon("group"), h("span", { class: "clip-text" }, clip.group || "No group"), h("kbd", {}, "G"));
    for (const mode of this.modes.children) mode.setAttribute("aria-pressed", String((mode.dataset.mode === "whole") === this.isWhole));
    this.segmentTools.hidden = this.isWhole;
    this.undoButton.disabled = !store.project.undo;
    this.redoButton.disabled = !store.project.redo;
    this.undoButton.title = store.project.undo ? `Undo: ${store.project.undo} (Z)` : "Nothing to undo";
    this.panel.show();
    this.showRows();
  }

  showRows() {
    if (!this.clip || !this.media) return;
    const stretch = this.painter.stretch;
    this.badge.hidden = !stretch;
    if (stretch && this.badge.dataset.label !== stretch.label) fill(this.badge, chip(stretch.label));
    if (stretch) this.badge.dataset.label = stretch.label;
    const mine = stretch ? painted(this.spans, stretch.start, stretch.until, stretch.label) : this.spans;
    const model = (this.prediction?.segments ?? []).map((s) => ({ ...s }));
    this.timeline.setRows([
      { name: "Mine", kind: "mine", height: 30, segments: mine, reserved: this.clip.reserved },
      { name: "Model", kind: "model", height: 20, segments: model },
      { name: "Differs", kind: "scores", height: 14, scores: disagreement(mine, this.prediction?.curve) },
    ]);
    this.timeline.setMarks({ ...this.marks, selected: this.selected });
    this.panel.showSegments();
  }

  showFrame() {
    if (!this.media) return; // the clip before plays on until this one is known
    const { frame, time, last } = this.player;
    setText(this.clockText, `${clock(time, true)} / ${clock(this.media.frames / this.fps, this.media.frames < 10 * this.fps)}`);
    setText(this.frameText, `frame ${frame + 1} of ${last + 1}`);
    this.timeline.setTime((frame + 0.5) / this.fps, this.player.playing);
    if (this.painter.active) this.showRows();
  }

  showState() {
    this.playButton.replaceChildren(icon(this.player.playing ? "pause" : "play"));
    this.speed.value = String(SPEEDS.reduce((a, b) => (Math.abs(b - this.player.speed) < Math.abs(a - this.player.speed) ? b : a)));
  }

  takeChanges(ids) {
    if (!this.clip) return;
    const clip = store.clips.get(this.clip.id);
    if (clip !== this.clip) {
      const start = this.selected?.start;
      this.clip = clip;
      if (store.waiting < 2) this.pending = null; // later edits are still on their way
      this.selected = this.spans.find((span) => span.start === start) ?? null;
    }
    this.showClip();
    this.queue.refresh(ids);
  }

  async refresh(ids) {
    if (!this.clip || (ids.length && !ids.includes(this.clip.id))) return;
    const clip = await loadClip(this.clip.id).catch(() => null);
    if (clip?.id !== this.clip?.id) return;
    this.pending = null;
    const predicted = JSON.stringify(clip.prediction) !== JSON.stringify(this.clip.prediction);
    this.clip = clip;
    this.showClip();
    if (predicted) {
      this.prediction = clip.prediction ? await get(`/api/clips/${clip.id}/prediction`).catch(() => null) : null;
      this.showRows();
    }
  }

  setMode(mode) {
    this.mode = mode;
    this.marks = {};
    this.player.loop = false;
    this.showClip();
    if (mode === "segments") this.player.pause();
  }

  move(steps) { this.go(this.index + steps); }

  /** Go to the next clip without a label; at the end say what comes now. */
  async advance() {
    const next = await this.listing.search(this.index + 1, isOpen);
    if (next >= 0) return this.go(next);
    const first = await this.listing.search(0, (clip) => isOpen(clip) && clip.id !== this.clip.id);
    if (first >= 0) return this.go(first);
    return toast("Every clip here has a label.", { action: { name: "Train", run: () => { location.hash = "#/train"; } } });
  }

  // A label's key: what it does depends on what is chosen and on whether the video plays.
  press(label) {
    if (!label || !this.clip) return;
    if (this.isWhole) {
      keepClips([{ ...this.clip, segments: [{ start: null, end: null, label }], state: "labelled" }]); // the next one comes at once
      edit([{ op: "label", clip: this.clip.id, label }], `label ${label} on ${this.clip.name}`);
      this.panel.flash(label);
      this.advance();
    } else if (!this.media) return; // frames are not known yet
    else if (this.selected && !this.player.playing) {
      this.replace(this.spans.map((s) => (s === this.selected ? { ...s, label } : s)), `change a segment to ${label}`);
    } else if (this.marks.in !== undefined && this.marks.out !== undefined && !this.player.playing) this.paintMarks(label);
    else { this.selected = null; this.painter.press(label); }
  }

  release(label) { this.painter.release(label); }

  /** Save strokes; they are shown before they are saved. */
  paint(edits, text, options) {
    this.pending = edits.reduce((spans, { start, end, label }) => painted(spans, start, end ?? durationOf(this.clip), label), this.spans);
    this.showRows();
    return edit(edits, text, options);
  }

  paintMarks(label) {
    const [start, end] = [this.marks.in, this.marks.out].sort((a, b) => a - b);
    const isEnd = end >= this.media.frames / this.fps - 1e-6;
    this.marks = {};
    this.paint([{ op: "paint", clip: this.clip.id, start, end: isEnd ? null : end, label }], label ? `paint ${label} on ${this.clip.name}` : `erase on ${this.clip.name}`);
  }

  mark(side) {
    if (!this.media) return;
    if (this.isWhole) this.setMode("segments");
    this.marks[side] = (this.player.frame + (side === "out" ? 1 : 0)) / this.fps;
    this.showRows();
    if (this.marks.in !== undefined && this.marks.out !== undefined) toast("Press a label's key for the stretch, or Delete to empty it.");
  }

  replace(spans, text, options) {
    const revision = this.clip.revision;
    this.pending = spans;
    this.showRows();
    return edit([{ op: "segments", clip: this.clip.id, segments: wireOf(spans, durationOf(this.clip)), revision }], `${text} on ${this.clip.name}`, options);
  }

  select(span) { this.selected = span; this.showRows(); }

  /** Choose the segment before or after, and go to its start. */
  selectNext(steps) {
    const { spans } = this;
    if (!spans.length) return;
    const at = spans.findIndex((s) => this.selected && s.start === this.selected.start);
    this.selected = spans[(at < 0 ? (steps > 0 ? 0 : spans.length - 1) : at + steps + spans.length) % spans.length];
    this.player.step(0);
    this.player.seek(Math.round(this.selected.start * this.fps));
    this.showRows();
  }

  remove() {
    if (this.isWhole) { edit([{ op: "label", clip: this.clip.id, label: null }], `remove the label of ${this.clip.name}`); return; }
    if (this.marks.in !== undefined && this.marks.out !== undefined) { this.paintMarks(null); return; }
    const span = this.selected ?? spanAt(this.spans, this.player.time + 0.5 / this.fps);
    if (span) this.replace(this.spans.filter((s) => s !== span), "delete a segment");
  }

  split() {
    const at = this.player.frame / this.fps;
    const { spans } = this;
    const span = spanAt(spans, at + 1e-6);
    if (!this.media || !span || at - span.start < 0.5 / this.fps) return;
    // Parts of one label that touch are one segment on disk: the cut is kept once a part has another label.
    this.pending = spans.flatMap((s) => (s === span ? [{ ...s, end: at }, { ...s, start: at }] : [s]));
    this.player.pause();
    this.select(this.pending[spans.indexOf(span) + 1]);
    toast("Split. A label's key changes the part after the cut, Delete removes it.");
  }

  nudge(frames) {
    const { spans } = this;
    const near = nearestEdge(spans, this.player.time);
    if (!this.media || !near) return;
    const moved = moveEdge(spans, near.span, near.edge, near.span[near.edge] + frames / this.fps, { duration: durationOf(this.clip), frame: 1 / this.fps });
    this.replace(moved, "move an edge");
  }

  dragEdge(span, edge, time, done) {
    this.dragged ??= { spans: this.spans, span };
    const { spans, span: from } = this.dragged;
    const origin = spans.find((s) => s === from || (s.start === from.start && s.end === from.end));
    this.pending = moveEdge(spans, origin, edge, time, { duration: durationOf(this.clip), frame: 1 / this.fps });
    const at = this.pending[spans.indexOf(origin)][edge];
    this.player.seek(Math.round(at * this.fps) - (edge === "end" ? 1 : 0));
    this.showRows();
    if (!done) return;
    this.dragged = null;
    this.replace(this.pending, "move an edge");
  }

  accept(all = false) {
    const time = this.player.time + 0.5 / this.fps;
    const span = this.isWhole || all ? null : (this.prediction?.segments ?? []).find((s) => time >= s.start && time < s.end);
    if (span) this.paint([{ op: "paint", clip: this.clip.id, start: span.start, end: span.end, label: span.label }], `accept ${span.label} on ${this.clip.name}`);
    else if (this.clip.prediction) {
      edit([{ op: "accept", clip: this.clip.id }], `accept the prediction on ${this.clip.name}`);
      if (this.isWhole) { keepClips([{ ...this.clip, segments: [{ start: null, end: null, label: this.clip.prediction.label }] }]); this.advance(); }
    } else toast("There is no prediction yet: train a model first.");
  }

  flag(flag) {
    const next = this.clip.flag === flag ? "" : flag;
    edit([{ op: "flag", clip: this.clip.id, flag: next }], next ? `mark ${this.clip.name} as ${next}` : `unmark ${this.clip.name}`);
    if (!next) return;
    keepClips([{ ...this.clip, flag: next }]);
    if (this.isWhole) this.advance();
  }

  escape() {
    if (this.painter.active && this.painter.cancel()) undo();
    this.marks = {};
    this.selected = null;
    this.showRows();
  }

  askGroup() { askGroup([this.clip]); }

  async nextUnsure() {
    const { items, unavailable } = await get("/api/review", { sort: "worth", limit: 5 });
    const item = items.find(({ clip }) => clip.id !== this.clip.id) ?? items[0];
    if (!item) { toast(unavailable || "There is no unsure moment: train a model first."); return; }
    keepClips([item.clip]);
    const index = await this.listing.find(item.clip.id);
    if (index >= 0) await this.go(index, item.start ?? 0);
  }

  close() {
    this.painter.finish();
    for (const end of this.ends) end();
    this.timeline.close();
    this.player.close();
  }
}

const isOpen = (clip) => !clip.segments.length && !clip.flag && !clip.damage;
