/** Train: is the data ready, one large button, how it goes, how it ended. */
import { get, post, remove } from "./api.js";
import { lineChart } from "./charts.js";
import { add, button, fill, h, icon, percent, setText, withCode } from "./dom.js";
import { emptyState, problem } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { chip } from "./labels.js";
import { on, palette, store } from "./store.js";

const MARKS = { fine: "check", note: "unsure", warning: "warn", stop: "close" };
const OPTIONS = { name: "", speed: "", groups: "auto", test_fraction: "", window: "", epochs: "", seed: "" };
let options = { ...OPTIONS }; // stay while other screens are open

export async function open(host) {
  const screen = new TrainScreen(host);
  await screen.load();
  return () => screen.close();
}

class TrainScreen {
  constructor(host) {
    this.job = [...store.jobs.values()].filter((job) => job.kind === "train").at(-1) ?? null;
    this.list = h("ul", { class: "readiness" });
    this.start = button({ name: "Train", label: "Train", key: "T", kind: "primary large", run: () => this.train() });
    this.estimate = h("p", { class: "dim" });
    this.labels = h("div", { class: "row chips" });
    this.run = h("section", { class: "card run-card", "aria-live": "off" });
    this.advanced = this.buildAdvanced();
    this.card = h("section", { class: "card ready-card" }, h("h2", {}, "Ready?"), this.list);
    this.body = h("div", { class: "body train-body" }, h("div", { class: "train-columns" },
      h("div", { class: "column" }, h("section", { class: "card start-card" }, h("h2", {}, "A model of these labels"), this.labels, h("div", { class: "row start-row" }, this.start, this.estimate), this.advanced), this.card), this.run));
    fill(host, h("header", { class: "head" }, h("h1", {}, "Train"), h("span", { class: "dim" }, "On this computer. Features of clips are kept, so that the next training takes seconds.")), this.body);
    let asked = null;
    this.ends = [on("job", (job) => this.takeJob(job)), on("project", () => { clearTimeout(asked); asked = setTimeout(() => this.loadReadiness(), 400); this.showLabels(); if (this.job?.state === "done") this.showRun(); })];
    setScreenKeys([{ keys: ["T", "Enter"], name: "Train", group: "Train", shown: "T", run: () => !this.start.disabled && this.train() }, { keys: ["Escape"], shown: "Esc", name: "Stop, and keep the model", group: "Train", run: () => this.stop() }]);
  }

  buildAdvanced() {
    const field = (name, label, note, input) => {
      input.id = `option-${name}`;
      input.value = options[name];
      input.addEventListener("change", () => { options = { ...options, [name]: input.value }; });
      return h("div", { class: "option" }, h("label", { for: input.id }, label), input, h("p", { class: "dim small" }, note));
    };
    const choice = (values) => h("select", { class: "field" }, values.map(([value, text]) => h("option", { value }, text)));
    const number = (placeholder, min, max, step) => h("input", { class: "field", type: "number", placeholder, min, max, step });
    return h("details", { class: "advanced" }, h("summary", {}, "Advanced"), h("div", { class: "options" },
      field("name", "Name", "Folder below runs/.", h("input", { class: "field", placeholder: store.project.name, maxlength: 60, spellcheck: "false" })),
      field("speed", "Speed", "Best also reads motion and the action network.", choice([["", "As in activity.toml, else balanced"], ["fast", "Fast"], ["balanced", "Balanced"], ["best", "Best"]])),
      field("groups", "Groups", "Clips of one group are never in training and test at once.", choice([["auto", "From the clips and their names"], ["", "Only those set here"]])),
      field("test_fraction", "Held out for the test", "The accuracy is measured on these.", choice([["", "As in activity.toml, else 20%"], ["0.1", "10%"], ["0.3", "30%"], ["0", "None: inner folds"]])),
      field("window", "Window (seconds)", "Length of the pieces of long videos.", number("automatic", 0.5, 60, 0.5)),
      field("epochs", "Epochs", "At most; the best one is kept.", number("automatic", 1, 1000, 1)),
      field("seed", "Seed", "Another draw of the test clips.", number("0", 0, 1e6, 1))));
  }

  async load() {
    this.showLabels();
    this.showButton();
    this.showRun();
    const [, { jobs }] = await Promise.all([this.loadReadiness(), get("/api/jobs")]);
    this.job = jobs.find((job) => job.kind === "train") ?? this.job;
    const { model } = store.project;
    if (!this.job && model) this.last = await get(`/api/runs/${encodeURIComponent(model)}`).catch(() => null); // of an earlier session
    this.showRun();
  }

  async loadReadiness() {
    const readiness = await get("/api/readiness").catch(() => null);
    if (!readiness) return;
    this.readiness = readiness;
    fill(this.list, readiness.items.map(({ level, text, label }) => h("li", { class: `ready-${level}` }, h("span", { class: "mark" }, icon(MARKS[level] ?? "unsure")), h("span", {}, text),
      label && h("a", { href: "#/label", class: "small" }, "Label"))));
    this.showButton();
  }

  showLabels() {
    const labels = store.project.labels.filter((label) => label.clips);
    fill(this.labels, labels.length ? labels.map((l) => chip(l.name, "", String(l.clips))) : h("p", { class: "dim" }, palette().length ? "No clip has a label yet." : "There are no labels yet: go to Label, name two actions, and give each about ten clips."));
  }

  get active() { return this.job && ["queued", "running"].includes(this.job.state); }

  showButton() {
    this.start.disabled = !this.readiness?.ready || Boolean(this.active);
    const { corrections, models } = store.project;
    setText(this.start.querySelector("span"), models.length ? "Train again" : "Train");
    const seconds = this.readiness?.seconds;
    const changed = models.length && corrections ? `${corrections} ${corrections === 1 ? "correction" : "corrections"} since the last model. ` : "";
    setText(this.estimate, this.readiness?.ready ? `${changed}${seconds ? `About ${duration(seconds)}.` : ""}` : this.readiness ? "First, what stops it:" : "Looking at the labels");
  }

  async train() {
    const number = (text) => (text === "" ? null : Number(text));
    const body = { kind: "train", name: options.name, speed: options.speed || null, groups: options.groups, test_fraction: number(options.test_fraction), window: number(options.window), epochs: number(options.epochs), seed: number(options.seed) };
    this.start.disabled = true;
    try { this.takeJob(await post("/api/jobs", body)); } catch (error) { problem({ text: error.message, hint: error.hint }); this.showButton(); }
  }

  async stop() { if (this.active) await post(`/api/jobs/${this.job.id}/stop`); }

  takeJob(job) {
    if (job.kind !== "train") return;
    if (this.job && this.job.id !== job.id && this.active && job.state === "queued") return;
    this.job = job;
    this.showRun();
    this.showButton();
  }

  showRun() {
    const { job } = this;
    if (!job && this.last) return fill(this.run, h("div", { class: "run-head" }, h("h2", {}, "The last model"), h("span", { class: "dim" }, this.last.run)), this.curve(this.last), this.ending({ result: this.last }));
    if (!job) return fill(this.run, emptyState(icon("train"), "No training yet", "While it runs, the curve of its accuracy grows here. Stop keeps the best model so far."));
    const active = this.active;
    const share = job.total ? job.done / job.total : 0;
    const title = { queued: "Waits for its turn", running: stageOf(job), done: "Done", failed: "It failed", cancelled: "Cancelled" }[job.state] ?? job.state;
    fill(this.run, h("div", { class: "run-head" }, h("h2", {}, title), h("span", { class: "dim" }, active ? timeOf(job) : job.seconds ? `in ${duration(job.seconds)}` : "")),
      h("span", { class: `bar ${active ? "" : "still"}` }, add(h("i", { style: { "--share": `${job.state === "done" ? 100 : 100 * share}%` } }))),
      h("p", { class: "dim small run-detail" }, job.detail || "\u00a0"), this.curve(job));
    if (active) add(this.run, h("div", { class: "row" }, button({ name: "Stop, and keep the best model so far", label: "Stop, keep the model", image: "stop", run: () => this.stop() }), button({ name: "Cancel", label: "Cancel", kind: "plain", run: () => remove(`/api/jobs/${job.id}`) })));
    if (job.state === "failed") add(this.run, h("div", { class: "notice bad" }, icon("warn"), h("p", {}, h("b", {}, job.error), " ", job.hint)));
    for (const warning of job.warnings) add(this.run, h("div", { class: "notice bad" }, icon("warn"), h("p", {}, withCode(warning))));
    if (job.state === "done" || (active && job.stage === "predict")) add(this.run, this.ending(job));
    return undefined;
  }

  curve({ history }) {
    const steps = Math.max(10, history.length);
    const chart = (title, name, top) => {
      const values = (part) => history.map((epoch) => (epoch[`${part}_${name}`] ?? null) === null ? null : epoch[`${part}_${name}`] / top);
      return h("div", {}, h("h3", {}, title), lineChart({ width: 300, height: 190, top, steps, names: ["epoch 0", `${steps - 1}`], label: `${title} over ${history.length} epochs`, series: [{ kind: "training", values: values("train") }, { kind: "held-out", values: values("val") }] }));
    };
    const highest = Math.max(0.1, ...history.flatMap((epoch) => [epoch.train_loss, epoch.val_loss]).filter(Number.isFinite));
    return h("figure", { class: "curve" }, chart("Loss", "loss", Math.ceil(highest * 10) / 10), chart("Accuracy", "accuracy", 1),
      h("figcaption", { class: "small dim legend" }, h("span", { class: "held-out" }, "held-out clips"), h("span", { class: "training" }, "training clips")));
  }

  ending({ result }) {
    const model = store.project.models.find((m) => m.run === (result?.run ?? store.project.model));
    const run = model?.run ?? result?.run;
    return h("div", { class: "ending" }, model && h("p", {}, h("b", {}, percent(model.accuracy)), " correct on clips that it was not trained on."),
      h("div", { class: "row" }, h("a", { class: "button primary", href: `#/results/${encodeURIComponent(run ?? "")}` }, "See the results"), h("a", { class: "button", href: "#/review" }, "Review the predictions")));
  }

  close() { for (const end of this.ends) end(); }
}

/** 75 -> "1 min 15 s". */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const STAGES = { epochs: "Training", predict: "Predicting all videos", clips: "Reading the clips" };

/** Return what a job does now, for people. */
export function stageOf({ stage, kind }) {
  const text = STAGES[stage] || stage || kind;
  return text[0].toUpperCase() + text.slice(1);
}

const timeOf = (job) => (job.left ? `about ${duration(job.left)} left` : job.state === "queued" ? "" : `${duration(job.seconds || 1)} so far`);
