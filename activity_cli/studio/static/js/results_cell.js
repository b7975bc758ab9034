/** The clips of a cell of the confusion matrix: a dialog that plays them. */
import { button, count, fill, h, icon, percent } from "./dom.js";
import { chip } from "./labels.js";
import { loadMedia } from "./media.js";
import { Player } from "./player.js";
import { loadClip } from "./store.js";

/** Show clips [{clip, name, start, end, score}] whose label is `truth`. */
export function cellDialog({ truth, predicted, clips }) {
  const stage = h("div", { class: "stage" });
  const box = h("div", { class: "stage-box cell-stage" }, stage);
  const player = new Player(stage);
  const list = h("ul", { class: "cell-list" });
  const open = h("a", { class: "button", href: "#/label" }, "Open in Label");
  const dialog = h("dialog", { class: "cell-dialog", "aria-label": "Clips of this cell" },
    h("header", { class: "row" }, chip(truth), h("span", { class: "dim" }, truth === predicted ? "predicted correctly" : "predicted as"), truth !== predicted && chip(predicted, "suggested"), h("span", { class: "dim grow" }, count(clips.length, "clip")),
      button({ name: "Close", key: "Esc", image: "close", kind: "plain", run: () => dialog.close() })),
    h("div", { class: "cell-columns" }, box, list), h("footer", { class: "row" }, h("span", { class: "dim small grow" }, truth === predicted ? "" : "A wrong label is common here: play the clip, then mend the label or keep it."), open));
  let shown = 0;
  const show = async (index) => {
    shown = index;
    const { clip: id, start } = clips[index];
    for (const [i, row] of [...list.querySelectorAll("button")].entries()) row.setAttribute("aria-pressed", String(i === index));
    if (!id) { fill(stage, h("p", { class: "gone" }, icon("warn"), "The file is gone.")); return; }
    open.href = `#/label/${id}`;
    const clip = await loadClip(id).catch(() => null);
    const media = clip && await loadMedia(clip).catch(() => null);
    if (shown !== index || !dialog.open || !media?.fps) return;
    player.load(media, Math.round((start ?? 0) * media.fps));
    player.play();
  };
  fill(list, clips.map(({ name, score, clip }, index) => h("li", {}, h("button", { type: "button", class: "segment-row cell-row", disabled: !clip, onclick: () => show(index) }, h("span", { class: "clip-text" }, name), h("small", { class: "dim" }, percent(score))))));
  open.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === " " && !event.target.matches("button:focus-visible")) { event.preventDefault(); player.toggle(); }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && clips[shown + step]) { event.preventDefault(); show(shown + step); }
  });
  dialog.addEventListener("close", () => { player.close(); dialog.remove(); });
  document.body.append(dialog);
  dialog.showModal();
  if (clips.length) show(0);
}
