/** Videos that are dropped or chosen: one request per file, one after another. */
import { upload } from "./api.js";
import { count, h, setText } from "./dom.js";
import { problem, toast } from "./feedback.js";
import { keepClips, refreshProject, tell } from "./store.js";

let line = Promise.resolve();

/** Copy files into the project, and show how far it is. */
export function uploadFiles(files) {
  if (!files.length) return;
  const name = h("span", { class: "clip-text" });
  const bar = h("i");
  const shown = h("div", { class: "toast" }, name, h("span", { class: "bar upload" }, bar));
  document.getElementById("toasts").append(shown);
  line = line.then(async () => {
    let done = 0;
    for (const [index, file] of files.entries()) {
      setText(name, `Copying ${index + 1} of ${files.length}: ${file.name}`);
      try {
        const { clip } = await upload(file, (share) => bar.style.setProperty("--share", `${100 * share}%`));
        keepClips([clip]);
        done += 1;
      } catch (error) {
        problem({ text: `${file.name}: ${error.message}`, hint: error.hint ?? "" });
      }
    }
    shown.remove();
    if (done) toast(`${count(done, "video")} added.`);
    refreshProject();
    tell("stale", []);
  });
}

/** Let the user choose files. */
export function chooseFiles() {
  const input = h("input", { type: "file", multiple: true, accept: "video/*,.mkv,.avi,.mov,.mts,.m2ts,.ts,.wmv,.flv,.mpg" });
  input.addEventListener("change", () => uploadFiles([...input.files]));
  input.click();
}
