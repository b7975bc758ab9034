/** Results: a sentence first, then how sure it is, what is taken for what, checks, export. */
import { get, post } from "./api.js";
import { intervalBar, lineChart } from "./charts.js";
import { button, count, fill, h, icon, percent, withCode } from "./dom.js";
import { copyBox, emptyState, problem } from "./feedback.js";
import { setScreenKeys } from "./keys.js";
import { chip } from "./labels.js";
import { on, store } from "./store.js";
import { cellDialog } from "./results_cell.js";

const FORMATS = [["onnx", "ONNX", "Python, C++, browsers, phones"], ["openvino", "OpenVINO", "Fastest on Intel CPUs"]];
const SEGMENT_FORMATS = [[".csv", "CSV"], [".srt", "subtitles"], [".eaf", "ELAN"], [".labelstudio.json", "Label Studio"]];

export async function open(host, [name]) {
  const screen = new ResultsScreen(host);
  await screen.load(name);
  return () => screen.close();
}

class ResultsScreen {
  constructor(host) {
    this.host = host;
    this.choice = h("select", { class: "field", "aria-label": "Run", onchange: () => { this.choice.blur(); location.hash = `#/results/${encodeURIComponent(this.choice.value)}`; this.load(this.choice.value); } });
    this.body = h("div", { class: "body" });
    this.exporting = h("div", { class: "exports", role: "status" });
    fill(host, h("header", { class: "head" }, h("h1", {}, "Results"), this.choice, h("span", { class: "grow" }), h("a", { class: "button", href: "#/review" }, icon("review"), "Review the predictions")), this.body);
    this.ends = [on("job", (job) => this.takeJob(job))];
    setScreenKeys([]);
  }

  async load(name) {
    const { runs } = await get("/api/runs");
    this.choice.hidden = !runs.length;
    if (!runs.length) {
      fill(this.body, emptyState(icon("results"), "No model yet", "Give about ten clips of each action a label, then train. What the model finds, and what it misses, is shown here.", h("a", { class: "button primary", href: "#/train" }, "Train")));
      return;
    }
    const run = runs.some((r) => r.run === name) ? name : store.project.model ?? runs.at(-1).run;
    fill(this.choice, [...runs].reverse().map((r) => h("option", { value: r.run }, `${r.run} · ${r.accuracy === null ? "not measured" : percent(r.accuracy)}`)));
    this.choice.value = run;
    const [result, { commands }] = await Promise.all([get(`/api/runs/${encodeURIComponent(run)}`), get("/api/commands")]);
    this.result = result;
    fill(this.body, h("div", { class: "results" }, this.headline(result), h("div", { class: "results-columns" }, this.matrix(result), h("div", { class: "column" }, this.perLabel(result), this.sessions(runs), this.lstm(result))),
      this.checks(result), this.exports(result), this.commands(commands)));
    for (const job of store.jobs.values()) this.takeJob(job); // exports of this session
  }

  headline(result) {
    const { accuracy, low, high } = result;
    return h("section", { class: "headline" }, h("p", { class: "sentence" }, accuracy === null ? result.sentence : sentenceOf(result)),
      accuracy !== null && intervalBar({ value: accuracy, low, high, label: `Accuracy ${percent(accuracy)}, interval ${percent(low)} to ${percent(high)}` }),
      h("p", { class: "dim" }, accuracy !== null && low !== null && `95% interval ${percent(low)} to ${percent(high)}${result.by ? `, by ${result.by}` : ""}, ${count(result.clips, "clip")}.`),
      result.problem && h("div", { class: "notice bad" }, icon("warn"), h("p", {}, withCode(result.problem))));
  }

  matrix({ labels, matrix, cells }) {
    const sums = matrix.map((row) => row.reduce((a, b) => a + b, 0) || 1);
    const cell = (row, column, number) => {
      const share = number / sums[row];
      const text = number ? [h("b", {}, String(number)), h("small", {}, `${Math.round(100 * share)}%`)] : h("span", { class: "zero" }, "·");
      const kind = row === column ? "right" : "wrong";
      // At most 55%: the text keeps a contrast of 4.5 in both themes.
      const style = { "--tint": `${Math.round(10 + 45 * share)}%` };
      if (!number) return h("td", {}, h("span", { class: "matrix-cell" }, text));
      return h("td", {}, h("button", { type: "button", class: `matrix-cell ${kind}`, style, title: `${labels[row]} predicted as ${labels[column]}: show ${count(number, "clip")}`, onclick: () => cellDialog({ truth: labels[row], predicted: labels[column], clips: cells[`${row},${column}`] ?? [] }) }, text));
    };
    return h("section", { class: "card" }, h("h2", {}, "Confusion matrix"), h("p", { class: "lead" }, "Rows: your labels. Columns: what the model predicts. A cell shows its clips."),
      h("div", { class: "scroll" }, h("table", { class: "matrix" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "sr" }, "Label")), labels.map((l) => h("th", { scope: "col" }, chip(l))))),
        h("tbody", {}, matrix.map((row, r) => h("tr", {}, h("th", { scope: "row" }, chip(labels[r])), row.map((number, c) => cell(r, c, number))))))));
  }

  perLabel({ per_label: labels }) {
    const bar = (share) => h("td", { class: "share" }, h("span", { class: "bar" }, h("i", { style: { "--share": percent(share) } })), h("span", {}, percent(share)));
    return h("section", { class: "card" }, h("h2", {}, "By label"), h("table", { class: "figures" }, h("thead", {}, h("tr", {}, ["Label", "Found", "Correct when predicted", "Clips"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, labels.map((l) => h("tr", {}, h("th", { scope: "row" }, chip(l.label)), bar(l.recall), bar(l.precision), h("td", { class: "number" }, String(l.clips)))))));
  }

  sessions(runs) {
    const measured = runs.filter((r) => r.accuracy !== null);
    if (measured.length < 2) return null;
    return h("section", { class: "card" }, h("h2", {}, "Over sessions"), h("p", { class: "lead" }, "Accuracy of each model with its interval. Test clips differ between models."),
      lineChart({ label: measured.map((r) => `${r.run} ${percent(r.accuracy)}`).join(", "), height: 150, series: [{ kind: "held-out", values: measured.map((r) => r.accuracy) }], band: measured.map((r) => [r.low ?? r.accuracy, r.high ?? r.accuracy]), names: [measured[0].run, measured.at(-1).run] }));
  }

  lstm({ lstm }) {
    return lstm ? h("section", { class: "card" }, h("h2", {}, "What the LSTM adds"), h("p", {}, lstm)) : null;
  }

  checks({ checks }) {
    if (!checks.length) return null;
    const sorted = [...checks].sort((a, b) => (b.level === "warning") - (a.level === "warning"));
    return h("section", { class: "card" }, h("h2", {}, "Checks"), h("ul", { class: "checks" }, sorted.map(({ level, title, text }) => h("li", { class: `check-${level}` }, h("span", { class: "mark" }, icon(level === "warning" ? "warn" : level === "fine" ? "check" : "unsure")), h("div", {}, h("b", {}, title), h("p", { class: "dim" }, withCode(text)))))));
  }

  exports({ run, files }) {
    const start = (kind, formats) => async () => { try { await post("/api/jobs", { kind, run, formats }); } catch (error) { problem({ text: error.message, hint: error.hint }); } };
    fill(this.exporting);
    return h("section", { class: "card", id: "export" }, h("h2", {}, "Export"), h("p", { class: "lead" }, "Exported models are run beside the original; only equal answers pass."),
      h("div", { class: "row" }, FORMATS.map(([format, name, use]) => button({ name: `${name}: ${use}`, label: name, image: "download", run: start("export", [format]) })),
        SEGMENT_FORMATS.map(([format, name]) => button({ name: `What happens when, of all videos, as ${name}`, label: `Segments, ${name}`, image: "download", run: start("segments", [format]) }))),
      this.exporting, files.length > 0 && h("ul", { class: "files" }, files.map((file) => fileLink(file))));
  }

  commands(commands) {
    return h("section", { class: "card" }, h("h2", {}, "The same by commands"), h("p", { class: "lead" }, "What this page did. Run them in the project's folder."),
      copyBox(this.result.next), commands.map(({ text, does }) => [h("p", { class: "dim small does" }, does[0].toUpperCase() + does.slice(1)), copyBox(text)]));
  }

  takeJob(job) {
    if (!["export", "segments"].includes(job.kind) || !this.result) return;
    const before = this.exporting.querySelector(`[data-job="${job.id}"]`);
    const share = job.total ? job.done / job.total : 0;
    const shown = h("div", { class: "export-job", "data-job": job.id }, h("b", {}, job.kind === "export" ? "Export" : "Segments"));
    if (job.state === "failed") shown.append(h("span", { class: "bad-text" }, job.error), h("span", { class: "dim" }, job.hint));
    else if (job.state === "done") {
      shown.append(h("span", {}, job.kind === "export" ? "Verified: the same answers as the original." : "Done."), h("ul", { class: "files" }, (job.result?.files ?? []).map((file) => fileLink(file))));
    } else shown.append(h("span", { class: "dim" }, job.state === "queued" ? "waits" : job.stage), h("span", { class: "bar" }, h("i", { style: { "--share": `${100 * share}%` } })));
    if (before) before.replaceWith(shown);
    else this.exporting.append(shown);
  }

  close() { for (const end of this.ends) end(); }
}

function sentenceOf({ accuracy, by, measured_on: where, weakest }) {
  const unseen = by === "group" ? "on clips of groups that it was not trained on" : "on clips that it was not trained on";
  const missed = weakest?.missed ? `; weakest: ${weakest.label}, ${weakest.missed} of ${weakest.of} missed` : "";
  return `${percent(accuracy)} correct ${where === "test" || by ? unseen : "in cross-validation"}${missed}.`;
}

function fileLink({ path, bytes }) {
  const size = bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return h("li", {}, h("a", { href: `/api/files?${new URLSearchParams({ path })}`, download: true }, path), h("small", { class: "dim" }, ` ${size}`));
}
