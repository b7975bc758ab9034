/** Review: what the model predicts, the moments most worth a look first; accept, correct, train again. */
import { get, thumbUrl } from "./api.js";
import { button, clock, count, fill, h, icon, percent, setText } from "./dom.js";
import { confirmDialog, emptyState, toast } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { chip, styleOf, swatch } from "./labels.js";
import { loadMedia } from "./media.js";
import { Player } from "./player.js";
import { disagreement, durationOf, spansOf, windows } from "./segments.js";
import { edit, keepClips, labelOfKey, loadClip, on, palette, store } from "./store.js";
import { loadThumb } from "./thumbs.js";
import { Timeline } from "./timeline.js";
import { openTruth } from "./truth.js";

const SORTS = [["worth", "Most worth labelling"], ["uncertain", "Uncertain"], ["disagrees", "Disagrees with your label"], ["unlike", "Unlike the training clips"]];
const SHORT_SECONDS = 12;
let choice = { sort: "worth", label: "", threshold: 0.9 }; // stays while other screens are open

export async function open(host, [mode]) {
  if (mode === "truth") return openTruth(host, tabs("truth"));
  const screen = new ReviewScreen(host);
  await screen.load();
  return () => screen.close();
}

/** Two ways to look at predictions: with them in sight, or hidden. */
function tabs(mode) {
  const tab = (name, text, href) => h("button", { type: "button", "aria-pressed": String(name === mode), onclick: () => { location.hash = href; } }, text);
  return h("div", { class: "segmented", role: "group", "aria-label": "Mode" }, tab("queue", "Predictions", "#/review"), tab("truth", "Ground truth", "#/review/truth"));
}

class ReviewScreen {
  constructor(host) {
    this.items = [];
    this.index = 0;
    this.build(host);
    this.player = new Player(this.stage);
    this.player.addEventListener("frame", () => this.showFrame());
    this.player.addEventListener("state", () => this.playButton.replaceChildren(icon(this.player.playing ? "pause" : "play")));
    this.timeline = new Timeline(this.track, { onSeek: (time) => { this.player.range = null; this.player.seek(Math.floor(time * this.fps)); } });
    let asked = null;
    this.ends = [on("clips", (ids) => this.takeChanges(ids)), on("project", () => this.showBar()), on("stale", () => { clearTimeout(asked); asked = setTimeout(() => this.load(), 500); })];
    setScreenKeys(this.keys());
  }

  get fps() { return this.media?.fps ?? 25; }
  get item() { return this.items[this.index]; }

  build(host) {
    const select = (name, values) => {
      const element = h("select", { class: "field", "aria-label": name, onchange: () => { choice = { ...choice, [name]: element.value }; element.blur(); this.load(); } }, values.map(([value, text]) => h("option", { value }, text)));
      element.value = choice[name];
      return element;
    };
    this.threshold = h("input", { type: "range", min: 50, max: 100, step: 1, value: 100 * choice.threshold, "aria-label": "Threshold", id: "threshold" });
    this.threshold.addEventListener("input", () => { choice = { ...choice, threshold: this.threshold.value / 100 }; this.showBar(); this.showRows(); });
    this.thresholdText = h("b", {});
    this.acceptAll = button({ name: "Accept all above", label: "Accept all", key: "A", run: () => this.acceptAbove() });
    this.again = h("a", { class: "button primary", href: "#/train", hidden: true });
    this.list = h("ol", { class: "review-list", "aria-label": "What to look at" });
    this.stage = h("div", { class: "stage" });
    this.playButton = button({ name: "Play or pause", key: "Space", image: "play", kind: "plain", run: () => this.player.toggle() });
    this.what = h("div", { class: "review-what" });
    this.answers = h("div", { class: "row answers" });
    this.track = h("div", { class: "track" });
    this.clockText = h("span", { class: "clock" });
    const labels = store.project.labels.map(({ name }) => [name, name]);
    this.main = h("div", { class: "review-grid" }, this.list, h("div", { class: "review-main" }, this.what, h("div", { class: "stage-box" }, this.stage),
      h("div", { class: "controls" }, button({ name: "One frame back", key: "Left", image: "back", kind: "plain", run: () => this.player.step(-1) }), this.playButton, button({ name: "One frame on", key: "Right", image: "forward", kind: "plain", run: () => this.player.step(1) }),
        this.clockText, h("span", { class: "grow" }), this.answers), this.track));
    fill(host, h("header", { class: "head" }, h("h1", {}, "Review"), tabs("queue"), h("span", { class: "grow" }), this.again),
      this.bar = h("div", { class: "review-bar" }, select("sort", SORTS), select("label", [["", "Any label"], ...labels]), h("span", { class: "grow" }), h("label", { for: "threshold" }, "Threshold"), this.threshold, this.thresholdText, this.acceptAll), this.main);
  }

  async load() {
    const answer = await get("/api/review", { sort: choice.sort, label: choice.label, limit: 200 });
    this.suggested = answer.suggested ?? [];
    this.items = answer.items;
    keepClips(this.items.map((item) => item.clip));
    this.bar.hidden = Boolean(answer.unavailable) || !answer.model;
    if (!this.items.length) {
      this.player.pause();
      const busy = [...store.jobs.values()].some((job) => ["queued", "running"].includes(job.state) && ["train", "predict"].includes(job.kind));
      const text = busy ? "The model is at work: its predictions appear here when they are done." : answer.unavailable || (answer.model ? "Every video has a label that the model agrees with. Add videos, or choose another order." : "Train a model first: then its predictions on all videos are shown here, the least certain first.");
      fill(this.main, emptyState(icon("review"), answer.model ? "Nothing to review" : "No predictions yet", text, !answer.model && !busy && h("a", { class: "button primary", href: "#/train" }, "Train")));
      return;
    }
    this.showBar();
    await this.go(Math.min(this.index, this.items.length - 1));
  }

  showBar() {
    const { corrections, models, model } = store.project;
    this.again.hidden = !corrections || !models.length;
    setText(this.again, `Train again: ${count(corrections, "correction")} since ${model ?? "the last model"}`);
    setText(this.thresholdText, percent(choice.threshold).replace(".0", ""));
    const above = this.suggested?.filter((score) => score >= choice.threshold).length ?? 0;
    setText(this.acceptAll.querySelector("span"), above ? `Accept ${count(above, "clip")}` : "Accept none");
    this.acceptAll.disabled = !above;
  }

  showList() {
    fill(this.list, this.items.map((item, index) => {
      const clip = store.clips.get(item.clip.id) ?? item.clip;
      const image = h("img", { alt: "" });
      if (Math.abs(index - this.index) < 30) loadThumb(image, thumbUrl(clip, { start: item.start, end: item.end, height: 60 }));
      const element = h("button", { type: "button", class: `review-item ${clip.state}`, "aria-current": index === this.index ? "true" : null }, image,
        h("span", { class: "review-text" }, h("span", { class: "clip-text" }, clip.name), chip(item.predicted, "suggested small", percent(item.score)), h("small", { class: "dim clip-text", title: item.why }, mineOf(clip, item))));
      element.addEventListener("click", (event) => { if (event.detail) element.blur(); this.go(index); });
      return h("li", {}, element);
    }));
    this.list.children[this.index]?.scrollIntoView({ block: "nearest" });
  }

  async go(index) {
    if (index < 0 || index >= this.items.length) { if (index >= this.items.length) toast("That was the last one here."); return; }
    this.index = index;
    this.showList();
    const { item } = this;
    this.showWhat();
    const [media, prediction] = await Promise.all([loadMedia(item.clip).catch((error) => ({ broken: error.message })), get(`/api/clips/${item.clip.id}/prediction`).catch(() => null)]);
    if (this.item !== item) return;
    this.prediction = prediction;
    if (media.broken) { this.player.pause(); fill(this.stage, emptyState(icon("warn"), "This video cannot be shown", media.broken)); return; }
    this.stage.querySelector(".empty")?.remove();
    this.media = media;
    this.player.load(media, Math.floor((item.start ?? 0) * media.fps));
    if (this.isMoment(item)) this.player.range = { first: this.player.frame, last: Math.ceil(item.end * media.fps) - 1 };
    else this.player.loop = true;
    this.timeline.setClip({ duration: media.frames / media.fps, fps: media.fps, strip: (start, end, number) => thumbUrl(item.clip, { start, end, count: number, height: 60 }) });
    this.showRows();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.player.play();
  }

  showWhat() {
    const { item } = this;
    const clip = store.clips.get(item.clip.id) ?? item.clip;
    const when = this.isMoment(item) ? `${clock(item.start, true)} – ${clock(item.end, true)}` : "";
    fill(this.what, h("h2", { class: "clip-text" }, clip.name), when && h("span", { class: "dim" }, when), h("span", { class: "dim clip-text grow" }, item.why), h("span", { class: `state ${clip.state}` }, clip.state),
      h("a", { class: "button small", href: `#/label/${clip.id}` }, "Open in Label", h("kbd", {}, "E")));
    fill(this.answers, button({ name: "Accept", label: `Accept ${item.predicted}`, key: "Enter", kind: "primary", run: () => this.answer(item.predicted, "accept") }),
      this.isMoment(item) && button({ name: "Accept the prediction for the whole video (Shift+Enter)", label: "Accept all", run: () => this.acceptVideo() }),
      palette().filter((l) => l.name !== item.predicted).slice(0, 4).map((label) => answer(label, () => this.answer(label.name, "correct to"))), button({ name: "Skip", label: "Skip", key: "N", run: () => this.go(this.index + 1) }));
  }

  showRows() {
    const { prediction, item } = this;
    if (!item || !this.media) return;
    const clip = store.clips.get(item.clip.id) ?? item.clip;
    const curve = prediction?.curve;
    const mine = spansOf(clip);
    const lanes = !curve ? [] : curve.labels.map((label, k) => ({ name: label, kind: "curve", height: 34, colour: styleOf(label).colour, threshold: choice.threshold, points: windows(curve).map((w) => ({ start: w.start, end: w.end, middle: w.middle, value: w.scores[k] })) }));
    const shown = lanes.sort((a, b) => Math.max(...b.points.map((p) => p.value)) - Math.max(...a.points.map((p) => p.value))).slice(0, 4);
    this.timeline.setRows([{ name: "Mine", kind: "mine", height: 22, segments: mine }, { name: "Model", kind: "model", height: 22, segments: prediction?.segments ?? [] }, { name: "Differs", kind: "scores", height: 12, scores: disagreement(mine, curve) }, ...shown]);
    if (this.isMoment(item)) this.timeline.setMarks({ in: item.start, out: item.end });
    else this.timeline.setMarks({});
  }

  showFrame() {
    const { frame, time } = this.player;
    setText(this.clockText, `${clock(time, true)} / ${clock(this.media.frames / this.fps)}`);
    this.timeline.setTime((frame + 0.5) / this.fps, this.player.playing);
  }

  takeChanges(ids) {
    if (!this.item) return;
    if (ids.length && !this.items.some((item) => ids.includes(item.clip.id))) return;
    this.showList();
    this.showWhat();
    this.showRows();
  }

  /** Give the moment, or a short clip as a whole, a label; then show the next one. */
  async answer(label, text) {
    const { item } = this;
    if (!item || !label) return;
    const clip = store.clips.get(item.clip.id) ?? item.clip;
    const isEnd = item.end >= durationOf(clip) - 1e-3;
    const one = this.isMoment(item) ? { op: "paint", clip: clip.id, start: item.start, end: isEnd ? null : item.end, label } : { op: "label", clip: clip.id, label };
    await this.send([one], `${text} ${label} on ${clip.name}`);
  }

  /** Take the prediction over for the whole video. */
  async acceptVideo() {
    if (this.item) await this.send([{ op: "accept", clip: this.item.clip.id }], `accept the prediction on ${this.item.clip.name}`);
  }

  async send(edits, text) {
    const sent = edit(edits, text);
    const isLast = this.index >= this.items.length - 1;
    if (!isLast) this.go(this.index + 1);
    if (!await sent) return;
    if (isLast) { this.index = 0; await this.load(); } // what is left, anew
    else await this.recount();
  }

  isMoment(item) { return item.start !== null && durationOf(store.clips.get(item.clip.id) ?? item.clip) > SHORT_SECONDS; }

  async acceptAbove() {
    if (this.acceptAll.disabled) return;
    const above = this.suggested.filter((score) => score >= choice.threshold).length;
    const sure = await confirmDialog({ title: `Accept ${count(above, "prediction")}?`, text: `Clips without a label whose score is at least ${percent(choice.threshold)} get the predicted label. One undo takes all back.`, confirm: "Accept" });
    if (!sure) return;
    const done = await edit([{ op: "accept_above", score: choice.threshold }], `accept ${count(above, "prediction")}`);
    if (done) { toast(`${count(above, "clip")} labelled.`); await this.load(); }
  }

  async recount() {
    const answer = await get("/api/review", { sort: choice.sort, label: choice.label, limit: 1 }).catch(() => null);
    if (answer) { this.suggested = answer.suggested ?? []; this.showBar(); }
  }

  keys() {
    const key = (keys, name, group, run, extra = {}) => ({ keys, name, group, run, ...extra });
    return [
      key(["Enter"], "Accept, and the next one", "Review", () => this.answer(this.item?.predicted, "accept")),
      key(["Shift+Enter"], "Accept the prediction of the whole video", "Review", () => this.acceptVideo(), { shown: "Shift Enter" }),
      key([..."0123456789"], "Correct: this label, and the next one", "Review", (event) => this.answer(labelOfKey(event.code.at(-1)), "correct to"), { shown: "0 – 9" }),
      key(["N", "ArrowDown"], "Next, unchanged", "Review", () => this.go(this.index + 1), { shown: "N ↓", repeat: true }),
      key(["P", "ArrowUp"], "The one before", "Review", () => this.go(this.index - 1), { shown: "P ↑", repeat: true }),
      key(["A"], "Accept all above the threshold", "Review", () => this.acceptAbove()),
      key(["E"], "Open in Label", "Review", async () => { if (this.item) { await loadClip(this.item.clip.id); location.hash = `#/label/${this.item.clip.id}`; } }),
      key(["T"], "Train again", "Review", () => { location.hash = "#/train"; }),
      key(["Space"], "Play or pause", "Player", () => this.player.toggle()),
      key(["ArrowLeft"], "One frame back", "Player", () => this.player.step(-1), { shown: "←", repeat: true }),
      key(["ArrowRight"], "One frame on", "Player", () => this.player.step(1), { shown: "→", repeat: true }),
      key(["J"], "Play backwards", "Player", () => this.player.play(-1)), key(["K"], "Stop", "Player", () => this.player.pause()), key(["L"], "Play; again: faster", "Player", () => (this.player.direction > 0 ? this.player.shift(1) : this.player.play())),
      key(["+", "="], "Zoom in", "Track", () => this.timeline.zoom(0.5), { shown: "+" }), key(["-"], "Zoom out", "Track", () => this.timeline.zoom(2)),
    ];
  }

  close() {
    for (const end of this.ends) end();
    this.timeline.close();
    this.player.close();
  }
}

/** Return a button that answers with a label. */
export function answer(label, run) {
  const element = h("button", { type: "button", class: "button answer", title: label.name }, swatch(label.name), h("span", { class: "clip-text" }, label.name), label.key && h("kbd", {}, label.key));
  element.addEventListener("click", (event) => { if (event.detail) element.blur(); run(); });
  return element;
}

function mineOf(clip, item) {
  const labels = [...new Set(clip.segments.map((s) => s.label))];
  return labels.length ? `you: ${labels.join(", ")}` : item.why;
}
