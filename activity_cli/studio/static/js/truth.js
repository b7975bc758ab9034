/** Ground truth: random stretches without predictions; never trained on, so the figure is honest. */
import { get, post } from "./api.js";
import { intervalBar } from "./charts.js";
import { button, clock, count, fill, h, icon, percent } from "./dom.js";
import { emptyState, problem } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { loadMedia } from "./media.js";
import { Player } from "./player.js";
import { answer } from "./review.js";
import { edit, labelOfKey, on, palette, store } from "./store.js";

/** Open the mode; `tabs` lead to the other one. */
export async function openTruth(host, tabs) {
  const body = h("div", { class: "truth" });
  fill(host, h("header", { class: "head" }, h("h1", {}, "Review"), tabs, h("span", { class: "dim small" }, "Random stretches, predictions hidden. They are never trained on.")), body);
  const screen = new TruthScreen(body);
  await screen.next();
  return () => screen.close();
}

class TruthScreen {
  constructor(body) {
    this.body = body;
    this.stage = h("div", { class: "stage" });
    this.player = new Player(this.stage);
    this.ends = [on("job", (job) => this.takeJob(job))];
    setScreenKeys([
      { keys: [..."0123456789"], shown: "0 – 9", name: "What happens most of this stretch", group: "Ground truth", run: (event) => this.answer(labelOfKey(event.code.at(-1))) },
      { keys: ["U"], name: "Cannot be said", group: "Ground truth", run: () => this.answer(null) },
      { keys: ["Space"], name: "Play or pause", group: "Player", run: () => this.player.toggle() },
      { keys: ["ArrowLeft"], shown: "←", name: "One frame back", group: "Player", repeat: true, run: () => this.player.step(-1) },
      { keys: ["ArrowRight"], shown: "→", name: "One frame on", group: "Player", repeat: true, run: () => this.player.step(1) },
    ]);
  }

  async next() {
    const stretch = await get("/api/truth/next");
    this.stretch = stretch;
    if (!stretch.stretches) return this.showStart();
    if (!stretch.stretch) return this.showEnd(stretch);
    const labels = [...palette(), { name: store.project.background, key: "0", background: true }];
    fill(this.body, h("div", { class: "truth-head" }, h("h2", {}, `Stretch ${stretch.answered + 1} of ${stretch.stretches}`), h("span", { class: "dim clip-text grow" }, `${stretch.clip.name}, ${clock(stretch.start, true)} – ${clock(stretch.end, true)}`),
      h("span", { class: "bar truth-bar" }, h("i", { style: { "--share": `${(100 * stretch.answered) / stretch.stretches}%` } }))),
    h("div", { class: "stage-box truth-stage" }, this.stage),
    h("div", { class: "controls answers" }, labels.map((label) => answer(label, () => this.answer(label.name))), h("span", { class: "grow" }), button({ name: "Cannot be said", label: "Cannot be said", key: "U", run: () => this.answer(null) })));
    const media = await loadMedia(stretch.clip).catch((error) => ({ broken: error.message }));
    if (this.stretch !== stretch) return undefined;
    if (media.broken) return fill(this.stage, emptyState(icon("film"), "This video cannot be shown", media.broken));
    this.media = media;
    const range = { first: Math.floor(stretch.start * media.fps), last: Math.ceil(stretch.end * media.fps) - 1 };
    this.player.load(media, range.first);
    this.player.range = range; // only the stretch is shown
    return this.player.play();
  }

  async answer(label) {
    const { stretch } = this.stretch ?? {};
    if (!stretch || label === undefined) return;
    this.stretch = null;
    await edit([{ op: "truth", stretch, label }], label ? `ground truth: ${label}` : "ground truth: cannot be said");
    await this.next();
  }

  showStart() {
    const input = h("input", { class: "field", type: "number", min: 5, max: 500, value: 20, "aria-label": "Number of stretches" });
    fill(this.body, emptyState(icon("results"), "How good is it really?", "Test clips are those that you chose to label; the rest may be harder. Here the program draws random stretches of your videos and hides its predictions. Say what happens in each: the figure that comes out is honest, with its interval.",
      input, button({ name: "Draw stretches", label: "Draw stretches", kind: "primary", run: () => this.draw(Number(input.value)) })));
  }

  async draw(number) {
    try { await post("/api/truth", { count: Math.max(1, number), seconds: 4 }); } catch (error) { problem({ text: error.message, hint: error.hint }); return; }
    await this.next();
  }

  showEnd({ answered, stretches }) {
    this.player.pause();
    this.result = h("div", { class: "truth-result", role: "status" });
    const model = store.project.model;
    fill(this.body, h("div", { class: "body" }, h("div", { class: "card" }, h("h2", {}, `${count(answered, "stretch", "stretches")} of ${stretches} answered`),
      h("p", { class: "lead" }, model ? `Now ${model} predicts them; none of them was, or will be, in its training.` : "Train a model, then measure it on these."),
      h("div", { class: "row" }, button({ name: "Measure", label: "Measure the model", kind: "primary", disabled: !model, run: () => this.measure(model) }), button({ name: "Draw more", label: "Draw 20 more", run: () => this.draw(20) })), this.result)));
  }

  async measure(run) {
    try { await post("/api/jobs", { kind: "truth", run }); } catch (error) { problem({ text: error.message, hint: error.hint }); }
  }

  takeJob(job) {
    if (job.kind !== "truth" || !this.result) return;
    const { result } = job;
    if (job.state === "done" && result) {
      fill(this.result, h("p", { class: "sentence" }, `${percent(result.accuracy)} correct on ${count(result.clips, "random stretch", "random stretches")}.`),
        intervalBar({ value: result.accuracy, low: result.low, high: result.high, label: `Interval ${percent(result.low)} to ${percent(result.high)}` }), h("p", { class: "dim" }, `95% interval ${percent(result.low)} to ${percent(result.high)}.`));
    } else fill(this.result, h("p", { class: job.state === "failed" ? "bad-text" : "dim" }, job.state === "failed" ? `${job.error} ${job.hint}` : `${job.stage || "Waits"} ${job.total ? `${job.done} of ${job.total}` : ""}`));
  }

  close() {
    for (const end of this.ends) end();
    this.player.close();
  }
}
