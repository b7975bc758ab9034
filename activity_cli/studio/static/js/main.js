/** The frame of the page: rail, routes, events of the server, files that are dropped. */
import { ApiError, Unreachable, get, hear } from "./api.js";
import { button, count, fill, h, icon, percent, setText } from "./dom.js";
import { drawCurtain, emptyState, liftCurtain, problem, toast } from "./feedback.js";
import { listen, setGlobalKeys, setScreenKeys, showSheet } from "./keys.js";
import { loadProject, on, redo, refreshProject, store, takeClips, tell, undo } from "./store.js";
import { uploadFiles } from "./uploads.js";
import { stageOf } from "./train.js";
import * as label from "./label.js";
import * as results from "./results.js";
import * as review from "./review.js";
import * as train from "./train.js";
import * as videos from "./videos.js";

const PLACES = [
  { path: "videos", name: "Videos", screen: videos, number: (p) => p.counts.clips.toLocaleString("en") },
  { path: "label", name: "Label", screen: label, number: (p) => `${p.counts.labelled} / ${p.counts.clips}` },
  { path: "train", name: "Train", screen: train, number: (p) => (p.models.length ? count(p.models.length, "run") : "") },
  { path: "results", name: "Results", screen: results, number: (p) => (p.models.length && p.models.at(-1).accuracy !== null ? percent(newest(p).accuracy) : "") },
  { path: "review", name: "Review", screen: review, number: (p) => (p.corrections && p.models.length ? `${p.corrections} new` : "") },
];
const newest = (project) => project.models.find((model) => model.run === project.model) ?? project.models.at(-1);

const rail = document.getElementById("rail");
const screen = document.getElementById("screen");
let close = null;
let shownPath = null;
let shownProblem = "";

function buildRail() {
  const links = PLACES.map((place, index) => h("a", { class: "place", href: `#/${place.path}`, title: `${place.name} (Alt+${index + 1})`, "data-place": place.path },
    icon(place.path), h("span", { class: "name" }, place.name), h("span", { class: "number" })));
  const theme = button({ name: "Light or dark", image: "theme", kind: "plain", run: switchTheme });
  const keys = button({ name: "Keys", key: "?", image: "keys", kind: "plain", run: showSheet });
  fill(rail,
    h("div", { class: "brand" }, h("b", {}, h("img", { src: "/static/icon.svg", alt: "" }), h("em", {}, "activity "), h("span", {}, "studio")), h("small", { class: "clip-text", id: "folder" })),
    h("nav", { "aria-label": "Places" }, links), h("div", { class: "fill" }),
    h("a", { class: "job", id: "job", href: "#/train", hidden: true }, h("b", { class: "clip-text" }), h("span", { class: "short" }), h("span", { class: "bar" }, h("i")), h("span", { class: "dim" })),
    h("div", { class: "saved", id: "saved" }, h("span", { class: "dot" }), h("span", {}, "Saved")),
    h("div", { class: "tools" }, theme, keys));
}

function showProject() {
  const { project } = store;
  const folder = document.getElementById("folder");
  setText(folder, project.name);
  folder.title = project.folder;
  document.getElementById("saved").classList.toggle("bad", Boolean(project.problem));
  if (project.problem && project.problem !== shownProblem) toast(`labels.csv is not written: ${project.problem}`, { bad: true });
  shownProblem = project.problem;
  showSaving();
  document.title = `${project.name} – activity studio`;
  for (const place of PLACES) setText(rail.querySelector(`[data-place="${place.path}"] .number`), place.number(project));
}

function showJob() {
  const job = [...store.jobs.values()].reverse().find((j) => j.state === "running" || j.state === "queued");
  const host = document.getElementById("job");
  host.hidden = !job;
  if (!job) return;
  const share = job.total ? job.done / job.total : 0;
  setText(host.querySelector("b"), job.state === "queued" ? `Waiting: ${job.kind}` : stageOf(job));
  setText(host.querySelector(".short"), `${Math.round(100 * share)}%`);
  host.querySelector("i").style.setProperty("--share", `${100 * share}%`);
  setText(host.querySelector(".dim"), job.left ? `about ${train.duration(job.left)} left` : job.total ? `${job.done} of ${job.total}` : "");
}

function showSaving() {
  const host = document.getElementById("saved");
  host.classList.toggle("waiting", store.waiting > 0);
  const at = store.savedAt?.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  setText(host.lastElementChild, shownProblem ? "labels.csv not written" : store.waiting ? "Saving" : at ? `Saved ${at}` : "Saved");
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("activity-theme", root.dataset.theme); } catch { /* private window: the theme is not kept */ }
  dispatchEvent(new Event("theme"));
}

async function route() {
  const [path, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const place = PLACES.find((p) => p.path === path) ?? PLACES[0];
  for (const link of rail.querySelectorAll(".place")) {
    if (link.dataset.place === place.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (place.path === shownPath && place.screen.change?.(rest)) return undefined;
  close?.();
  close = null;
  shownPath = place.path;
  setScreenKeys([]);
  screen.replaceChildren();
  screen.className = `screen-${place.path}`;
  try {
    const end = await place.screen.open(screen, rest);
    if (shownPath === place.path) close = end;
    else end?.();
  } catch (error) {
    if (error instanceof ApiError) fill(screen, emptyState(icon("warn"), error.message, error.hint));
    else if (!(error instanceof Unreachable)) throw error;
  }
  return undefined;
}

function hearServer() {
  hear({
    hello: ({ server }) => {
      liftCurtain();
      if (store.server && store.server !== server) loadProject().then(() => tell("clips", []));
      store.server = server;
      store.ended = false;
    },
    edit: ({ clips, undo: last, redo: next, revision, notice }) => {
      Object.assign(store.project, { undo: last, redo: next, revision });
      takeClips(clips);
      refreshProject();
      if (notice) toast(notice);
    },
    clips: ({ ids }) => { tell("stale", ids); refreshProject(); },
    proxy: (data) => tell("proxy", data),
    notice: ({ text, hint }) => toast(text, { hint }),
    job: takeJob,
    end: () => {
      store.ended = true;
      drawCurtain({ title: "Studio has ended. Everything is saved.", text: "You can close this page. Start again with:", command: restartCommand() });
    },
  });
  addEventListener("unreachable", () => setTimeout(checkServer, 700));
}

const restartCommand = () => `activity studio ${/^[\w./-]+$/.test(store.project?.folder ?? "") ? store.project.folder : `'${(store.project?.folder ?? "FOLDER").replaceAll("'", "'\\''")}'`}`;

async function checkServer() {
  if (store.ended) return;
  const answer = await fetch("/api/jobs").catch(() => null);
  if (answer?.ok) return;
  const at = store.savedAt ? ` Your last change was saved at ${store.savedAt.toLocaleTimeString()}.` : "";
  drawCurtain({ title: "Studio does not answer", text: `It was stopped, or started again with a new address.${at} Start it again and use the page that opens:`, command: restartCommand() });
}

function takeJob(job) {
  const before = store.jobs.get(job.id)?.state;
  store.jobs.set(job.id, job);
  tell("job", job);
  if (before === job.state) return;
  if (job.state === "done" || job.state === "cancelled") refreshProject();
  if (job.state === "failed") problem({ text: `${job.kind[0].toUpperCase()}${job.kind.slice(1)} failed: ${job.error}`, hint: job.hint });
}

function hearDrops() {
  let cover = null;
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    if (!cover) document.body.append(cover = h("div", { class: "drop" }, "Drop videos here: they are copied into the project"));
  });
  const lift = () => { cover?.remove(); cover = null; };
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) lift(); });
  addEventListener("drop", (event) => { if (!isFile(event)) return; event.preventDefault(); lift(); uploadFiles([...event.dataTransfer.files]); });
}

async function start() {
  try { document.documentElement.dataset.theme = localStorage.getItem("activity-theme") ?? ""; } catch { /* private window */ }
  if (!document.documentElement.dataset.theme) delete document.documentElement.dataset.theme;
  buildRail();
  on("project", showProject);
  on("job", showJob);
  on("saving", showSaving);
  on("problem", problem);
  setGlobalKeys([
    { keys: ["Z"], name: "Undo", group: "Everywhere", run: async () => said(await undo(), "Undone") },
    { keys: ["Shift+Z"], shown: "Shift Z", name: "Redo", group: "Everywhere", run: async () => said(await redo(), "Done again") },
    { keys: ["?"], name: "This sheet", group: "Everywhere", run: showSheet },
  ]);
  listen();
  addEventListener("keydown", (event) => {
    const place = event.altKey && PLACES[Number(/^Digit([1-5])$/.exec(event.code)?.[1]) - 1];
    if (place) { event.preventDefault(); location.hash = `#/${place.path}`; }
  });
  hearDrops();
  const [project, { jobs }] = await Promise.all([loadProject(), get("/api/jobs")]);
  for (const job of jobs.reverse()) store.jobs.set(job.id, job);
  showJob();
  hearServer();
  addEventListener("hashchange", route);
  if (!location.hash) history.replaceState(null, "", "#/videos");
  await route();
  return project;
}

function said(answer, text) {
  if (answer) toast(`${text}${answer.clips.length === 1 ? `: ${answer.clips[0].name}` : ""}.`);
}

start().catch((error) => {
  if (error instanceof ApiError) drawCurtain({ title: error.message, text: error.hint || "Use the address that the program printed.", command: "" });
  else throw error;
});
