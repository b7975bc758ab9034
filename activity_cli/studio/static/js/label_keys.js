/** The keys of the Label screen. */
import { labelOfKey, palette } from "./store.js";

/** Return the bindings; `screen` is a LabelScreen. */
export function labelKeys(screen) {
  const { player } = screen;
  const second = () => Math.max(1, Math.round(screen.fps));
  const pressed = new Map(); // label per digit that is down: labels may be renumbered meanwhile
  const digits = {
    keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], shown: "1 – 9", name: "Label; held while it plays: paint; tapped: start and end", group: "Labels",
    run: (event) => { const label = labelOfKey(event.code.at(-1)); pressed.set(event.code, label); screen.press(label); },
    up: (event) => screen.release(pressed.get(event.code)),
    lost: () => screen.painter.finish(),
  };
  const background = {
    keys: ["0"], shown: "0", name: "Background: looked at, nothing happens", group: "Labels",
    run: (event) => { const label = labelOfKey("0"); pressed.set(event.code, label); screen.press(label); },
    up: (event) => screen.release(pressed.get(event.code)),
  };
  const byLetter = {
    keys: [..."ABCDEFGHIJKLMNOPQRSTUVWXY"].map((letter) => `Shift+${letter}`), shown: "Shift A–Y", name: "Label beyond the ninth, by its first letter", group: "Labels",
    run: (event) => {
      const label = palette().find(({ name, key }) => !key && name.toUpperCase().startsWith(event.code.at(-1)));
      if (label) { screen.press(label.name); pressed.set(event.code, label.name); }
    },
    up: (event) => screen.release(pressed.get(event.code)),
  };
  const key = (keys, name, group, run, extra = {}) => ({ keys, name, group, run, ...extra });
  return [
    digits, background, byLetter,
    key(["Enter"], "Accept the model's suggestion", "Labels", () => screen.accept()),
    key(["Shift+Enter"], "Accept all suggestions of the clip", "Labels", () => screen.accept(true), { shown: "Shift Enter" }),
    key(["A"], "Add a label", "Labels", () => screen.panel.input.focus()),
    key(["U"], "Unsure", "Labels", () => screen.flag("unsure")),
    key(["X"], "Exclude", "Labels", () => screen.flag("excluded")),
    key(["G"], "Group", "Labels", () => screen.askGroup()),
    key(["Space"], "Play or pause", "Player", () => player.toggle()),
    key(["ArrowLeft"], "One frame back", "Player", () => player.step(-1), { repeat: true, shown: "←" }),
    key(["ArrowRight"], "One frame on", "Player", () => player.step(1), { repeat: true, shown: "→" }),
    key(["Shift+ArrowLeft"], "One second back", "Player", () => player.step(-second()), { repeat: true, shown: "Shift ←" }),
    key(["Shift+ArrowRight"], "One second on", "Player", () => player.step(second()), { repeat: true, shown: "Shift →" }),
    key(["Home"], "First frame", "Player", () => { player.pause(); player.seek(0); }),
    key(["End"], "Last frame", "Player", () => { player.pause(); player.seek(player.last); }),
    key(["J"], "Play backwards; again: faster", "Player", () => (player.direction < 0 ? player.shift(1) : player.play(-1))),
    key(["K"], "Stop", "Player", () => player.pause()),
    key(["L"], "Play; again: faster", "Player", () => (player.direction > 0 ? player.shift(1) : player.play())),
    key([","], "Slower", "Player", () => player.shift(-1)),
    key(["."], "Faster", "Player", () => player.shift(1)),
    key(["I"], "In: a stretch starts here", "Segments", () => screen.mark("in")),
    key(["O"], "Out: it ends here", "Segments", () => screen.mark("out")),
    key(["S"], "Split the segment here", "Segments", () => screen.split()),
    key(["Delete", "Backspace"], "Delete the segment or the label", "Segments", () => screen.remove()),
    key(["["], "Nearest edge one frame earlier", "Segments", () => screen.nudge(-1), { repeat: true }),
    key(["]"], "Nearest edge one frame later", "Segments", () => screen.nudge(1), { repeat: true }),
    key(["ArrowUp"], "Segment before", "Segments", () => screen.selectNext(-1), { shown: "↑" }),
    key(["ArrowDown"], "Segment after", "Segments", () => screen.selectNext(1), { shown: "↓" }),
    key(["Escape"], "Let go of marks and selection", "Segments", () => screen.escape(), { shown: "Esc" }),
    key(["M"], "Whole clip or segments", "Segments", () => screen.setMode(screen.isWhole ? "segments" : "whole")),
    key(["+", "="], "Zoom in", "Track", () => screen.timeline.zoom(0.5), { shown: "+" }),
    key(["-"], "Zoom out", "Track", () => screen.timeline.zoom(2)),
    key(["N", "PageDown"], "Next clip", "Clips", () => screen.move(1)),
    key(["P", "PageUp"], "Previous clip", "Clips", () => screen.move(-1)),
    key(["W"], "Next unsure moment", "Clips", () => screen.nextUnsure()),
    key(["/"], "Search the videos", "Clips", () => { location.hash = "#/videos/search"; }),
  ];
}
