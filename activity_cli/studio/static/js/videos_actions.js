/** What is done to clips from more than one screen. */
import { button, count } from "./dom.js";
import { askText, toast } from "./feedback.js";
import { edit, store } from "./store.js";
import { chooseFiles } from "./uploads.js";

export { chooseFiles };

/** Ask for the group of clips, and set it. */
export async function askGroup(clips) {
  const name = clips.length === 1 ? clips[0].name : count(clips.length, "video");
  const group = await askText({
    title: `Group of ${name}`, label: "Group (empty: none)", value: clips[0].group, confirm: "Set the group",
    options: store.project.groups.map((g) => g.name),
    note: "Clips of one person, camera or place are one group: they are never in training and test at once, else the accuracy is overestimated.",
  });
  if (group === null) return;
  const done = await edit(clips.map((clip) => ({ op: "group", clip: clip.id, group })), group ? `put ${name} into the group ${group}` : `take ${name} out of its group`);
  if (done) toast(group ? `Group ${group}: ${name}.` : `No group: ${name}.`);
}

/** Return a hint how to try without videos of one's own. */
export function trySample() {
  return button({ name: "Try the sample", label: "Try the sample", run: () => toast("Stop Studio and start it with: activity studio --demo") });
}
