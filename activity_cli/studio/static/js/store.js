/** The project as the server last told it: one copy for all screens, and the edits on their way. */
import { ApiError, Unreachable, get, post } from "./api.js";
import { setLabels } from "./labels.js";

export const store = { listing: null, project: null, clips: new Map(), jobs: new Map(), server: null, waiting: 0, savedAt: null, ended: false };

const topics = new Map();

/** Run a function at each change of a topic: project, clips, job, saving. Returns its end. */
export function on(topic, run) {
  if (!topics.has(topic)) topics.set(topic, new Set());
  topics.get(topic).add(run);
  return () => topics.get(topic).delete(run);
}

export function tell(topic, data) {
  for (const run of topics.get(topic) ?? []) run(data);
}

export async function loadProject() {
  const project = await get("/api/project");
  store.project = project;
  if (project.job) store.jobs.set(project.job.id, project.job);
  setLabels(project.labels.filter((label) => !label.background), project.background);
  tell("project");
  return project;
}

let asked = null;
/** Load the project soon; several changes at once load it once. */
export function refreshProject() {
  asked ??= setTimeout(() => { asked = null; loadProject().catch(() => {}); }, 150);
}

/** Keep clips, but none of an older revision than the stored one. */
export function keepClips(clips) {
  for (const clip of clips) {
    if (!(clip.revision < store.clips.get(clip.id)?.revision)) store.clips.set(clip.id, clip);
  }
  return clips;
}

/** Take clips over that changed; [] means that any may have changed. */
export function takeClips(clips) {
  keepClips(clips);
  tell("clips", clips.map((clip) => clip.id));
}

export async function loadClip(id) {
  return keepClips([await get(`/api/clips/${encodeURIComponent(id)}`)])[0];
}

let line = Promise.resolve();

/** Send edits, one request after another in the order of the keys; returns the answer or null. */
export function edit(edits, text, { join = false } = {}) {
  return inLine("/api/edits", join ? { edits, text, join } : { edits, text });
}

export const undo = () => (store.project.undo || store.waiting ? inLine("/api/undo", {}) : null);
export const redo = () => (store.project.redo || store.waiting ? inLine("/api/redo", {}) : null);

function inLine(path, body) {
  store.waiting += 1;
  tell("saving");
  const sent = line.then(() => post(path, body)).then(take, fail).finally(() => {
    store.waiting -= 1;
    tell("saving");
  });
  line = sent;
  return sent;
}

function take(answer) {
  store.savedAt = new Date();
  if (store.project) Object.assign(store.project, { revision: answer.revision, undo: answer.undo, redo: answer.redo });
  takeClips(answer.clips);
  refreshProject();
  return answer;
}

function fail(error) {
  if (error instanceof ApiError) {
    if (error.clip) takeClips([error.clip]);
    else tell("stale", []); // what was shown before the answer may be wrong
    tell("problem", { text: error.message, hint: error.hint, quiet: error.status === 404 });
  } else if (!(error instanceof Unreachable)) throw error;
  return null;
}

/** Return the labels but background, in the order of their keys. */
export function palette() {
  return (store.project?.labels ?? []).filter((label) => !label.background);
}

/** Return the label of a key "0" to "9", or undefined. */
export function labelOfKey(key) {
  return (store.project?.labels ?? []).find((label) => label.key === key)?.name ?? (key === "0" ? store.project?.background : undefined);
}
