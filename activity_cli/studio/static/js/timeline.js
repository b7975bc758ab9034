/**
 * The track under the player: ruler, thumbnails, and rows of segments, on one canvas.
 *
 * Rows are {name, kind, height, segments | scores}: kind "mine" can be edited, "model" is hatched,
 * "scores" draws bars of 0 to 1 per {start, end, value}, "curve" a line through them. Times are seconds.
 */
import { clock } from "./dom.js";
import { fillOf, isBackground, styleOf } from "./labels.js";
import { loadThumb } from "./thumbs.js";

const RULER = 20;
const BAND = 44;
const GAP = 4;
const GUTTER = 76; // names of the rows
const STRIP = 24; // frames in a strip of thumbnails
const EDGE = 6; // pixels around an edge that take hold of it
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

export class Timeline {
  constructor(host, { onSeek, onSelect, onEdge, gutter = GUTTER, band = BAND }) {
    Object.assign(this, { host, onSeek, onSelect, onEdge, gutter, band });
    this.canvas = document.createElement("canvas");
    this.canvas.className = "timeline";
    this.canvas.setAttribute("role", "img");
    host.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    this.view = { start: 0, end: 1 };
    this.duration = 1;
    this.fps = 25;
    this.rows = [];
    this.time = 0;
    this.marks = {}; // in, out, selected segment
    this.pictures = [];
    this.hand = null; // what the pointer drags
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(host);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.onScheme = () => { this.colours = null; this.draw(); };
    this.scheme.addEventListener("change", this.onScheme);
    addEventListener("theme", this.onScheme);
    this.listen();
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.onScheme);
    removeEventListener("theme", this.onScheme);
    this.canvas.remove();
  }

  /** Show another clip: `strip(start, end, count)` is the address of so many frames side by side. */
  setClip({ duration, fps, strip = null }) {
    this.duration = Math.max(duration, 1 / fps);
    this.fps = fps;
    this.strip = strip;
    this.pictures = [];
    this.view = { start: 0, end: this.duration };
    this.loadStrip();
    this.draw();
  }

  // Frames for what is seen now; those loaded before stay until the new ones are there.
  loadStrip() {
    if (!this.strip || !this.band) return;
    const { strip, view: { start, end } } = this;
    const image = new Image();
    image.addEventListener("load", () => {
      if (this.strip !== strip) return;
      const width = image.naturalWidth / STRIP;
      const found = Array.from({ length: STRIP }, (_, i) => ({ image, seconds: start + ((i + 0.5) / STRIP) * (end - start), left: i * width, width }));
      this.pictures = [...this.pictures.slice(0, STRIP), ...found];
      this.draw();
    });
    image.dataset.free = "true"; // it is drawn, not shown
    loadThumb(image, strip(start, end, STRIP));
  }

  setRows(rows) {
    this.rows = rows;
    const height = RULER + this.band + rows.reduce((sum, row) => sum + row.height + GAP, GAP);
    if (this.height !== height) { this.height = height; this.host.style.setProperty("height", `${height}px`); }
    this.canvas.setAttribute("aria-label", rows.map((row) => `${row.name}: ${(row.segments ?? []).map((s) => `${s.label} ${clock(s.start, true)} to ${clock(s.end, true)}`).join(", ") || "nothing"}`).join(". "));
    this.draw();
  }

  setTime(time, follow) {
    this.time = time;
    const span = this.view.end - this.view.start;
    if (follow && (time < this.view.start || time > this.view.end - 0.05 * span)) this.moveTo(time - 0.1 * span);
    this.draw();
  }

  setMarks(marks) { this.marks = marks; this.draw(); }

  /** Zoom by a factor around a time, at most to 20 frames. */
  zoom(factor, around = this.time) {
    const span = this.view.end - this.view.start;
    const next = Math.min(this.duration, Math.max(20 / this.fps, span * factor));
    const share = span ? (Math.max(this.view.start, Math.min(this.view.end, around)) - this.view.start) / span : 0;
    this.view = { start: around - share * next, end: around - share * next + next };
    this.moveTo(this.view.start);
  }

  moveTo(start) {
    const span = this.view.end - this.view.start;
    const first = Math.max(0, Math.min(this.duration - span, start));
    this.view = { start: first, end: first + span };
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.loadStrip(), 250);
    this.draw();
  }

  x(time) { return this.gutter + ((time - this.view.start) / (this.view.end - this.view.start)) * (this.width - this.gutter - 2); }
  t(x) { return this.view.start + ((x - this.gutter) / (this.width - this.gutter - 2)) * (this.view.end - this.view.start); }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = null; this.paint(); });
  }

  paint() {
    if (!this.canvas.isConnected) return;
    const ratio = devicePixelRatio || 1;
    this.width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (this.canvas.width !== Math.round(this.width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const c = this.context;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, height);
    const css = getComputedStyle(this.host);
    this.colours ??= Object.fromEntries(["ink", "dim", "edge", "line", "accent", "card", "raised", "page", "wrong"].map((n) => [n, css.getPropertyValue(`--${n}`).trim()]));
    c.font = `11px ${css.getPropertyValue("--font")}`;
    c.textBaseline = "middle";
    this.paintRuler(c);
    c.save();
    c.beginPath();
    c.rect(this.gutter, 0, this.width - this.gutter, height);
    c.clip();
    this.paintBand(c);
    this.eachRow((row, top) => this.paintRow(c, row, top));
    this.paintMarks(c, height);
    c.restore();
    this.eachRow((row, top) => {
      if (!this.gutter) return;
      c.fillStyle = this.colours.dim;
      c.textAlign = "left";
      c.fillText(row.name, 0, top + row.height / 2, this.gutter - 8);
    });
  }

  eachRow(run) {
    let top = RULER + this.band + GAP;
    for (const row of this.rows) { run(row, top); top += row.height + GAP; }
  }

  paintRuler(c) {
    const span = this.view.end - this.view.start;
    const step = TICKS.find((tick) => (tick / span) * (this.width - this.gutter) >= 64) ?? 7200;
    c.fillStyle = this.colours.dim;
    c.strokeStyle = this.colours.edge;
    c.textAlign = "left";
    c.lineWidth = 1;
    for (let i = Math.ceil(this.view.start / step); i * step <= this.view.end + 1e-9; i++) {
      const x = Math.round(this.x(i * step)) + 0.5;
      c.beginPath(); c.moveTo(x, 4); c.lineTo(x, RULER); c.stroke();
      if (x < this.width - 30) c.fillText(step < 1 ? (i * step).toFixed(1) : clock(i * step), x + 4, 9);
    }
  }

  paintBand(c) {
    if (!this.band) return;
    c.fillStyle = this.colours.raised;
    c.fillRect(this.gutter, RULER, this.width - this.gutter, this.band);
    if (!this.pictures.length) return;
    const [first] = this.pictures;
    const width = Math.max(24, (this.band * first.width) / first.image.naturalHeight);
    for (let x = this.gutter; x < this.width; x += width) {
      const middle = this.t(x + width / 2);
      const { image, left, width: wide } = this.pictures.reduce((a, b) => (Math.abs(b.seconds - middle) < Math.abs(a.seconds - middle) ? b : a));
      c.drawImage(image, left, 0, wide, image.naturalHeight, x, RULER, width - 1, this.band);
    }
  }

  paintRow(c, row, top) {
    const [from, to] = [Math.max(this.gutter, this.x(0)), Math.min(this.width, this.x(this.duration))];
    c.fillStyle = this.colours.raised;
    c.fillRect(from, top, to - from, row.height);
    if (row.kind === "mine") this.paintUnseen(c, from, to, top, row.height);
    if (row.kind === "scores") this.paintScores(c, row, top);
    else if (row.kind === "curve") this.paintCurve(c, row, top);
    else for (const segment of row.segments) this.paintSegment(c, row, segment, top);
    for (const [start, end] of row.reserved ?? []) this.paintReserved(c, start, end, top, row.height);
  }

  // Ground truth: no label is kept there.
  paintReserved(c, start, end, top, height) {
    const [x, width] = [this.x(start), this.x(end) - this.x(start)];
    c.fillStyle = this.colours.edge;
    c.fillRect(x, top, width, height);
    c.fillStyle = this.colours.dim;
    c.textAlign = "left";
    if (width > 76) c.fillText("ground truth", x + 6, top + height / 2);
  }

  // Not looked at: a dotted line, so that it is no colour of a label.
  paintUnseen(c, from, to, top, height) {
    c.strokeStyle = this.colours.line;
    c.setLineDash([2, 6]);
    c.beginPath(); c.moveTo(from, top + height / 2); c.lineTo(to, top + height / 2); c.stroke();
    c.setLineDash([]);
  }

  paintSegment(c, row, segment, top) {
    const x = this.x(segment.start);
    const width = Math.max(2, this.x(segment.end) - x);
    if (x > this.width || x + width < this.gutter) return;
    const suggested = row.kind === "model";
    c.save();
    c.beginPath();
    c.roundRect(x + 0.5, top, width - 1, row.height, 4);
    c.clip();
    c.fillStyle = this.colours.card;
    c.fillRect(x, top, width, row.height);
    if (isBackground(segment.label)) { c.fillStyle = this.colours.edge; c.fillRect(x, top, width, row.height); }
    else { c.translate(x, top); c.fillStyle = fillOf(c, segment.label, suggested); c.fillRect(0, 0, width, row.height); c.translate(-x, -top); }
    if (width > 18) this.paintName(c, segment, Math.max(x, this.gutter), top, width - Math.max(0, this.gutter - x), row.height, suggested);
    c.restore();
    const chosen = this.marks.selected && this.marks.selected === segment;
    c.strokeStyle = chosen ? this.colours.accent : isBackground(segment.label) ? this.colours.line : suggested ? styleOf(segment.label).colour : this.colours.card;
    c.lineWidth = chosen ? 2.5 : 1;
    c.beginPath(); c.roundRect(x + 0.5, top + 0.5, width - 1, row.height - 1, 4); c.stroke();
  }

  paintName(c, segment, x, top, width, height, suggested) {
    const style = styleOf(segment.label);
    const plain = isBackground(segment.label);
    let text = segment.label;
    if (c.measureText(text).width > width - 14) text = plain ? "0" : style.letter;
    const size = c.measureText(text).width + 8;
    if (size > width) return;
    c.fillStyle = plain || suggested ? this.colours.card : style.colour;
    c.globalAlpha = plain ? 0 : 0.92;
    c.beginPath(); c.roundRect(x + 3, top + height / 2 - 8, size, 16, 3); c.fill();
    c.globalAlpha = 1;
    c.fillStyle = plain || suggested ? this.colours.ink : style.ink;
    c.textAlign = "left";
    c.fillText(text, x + 7, top + height / 2 + 0.5);
  }

  paintScores(c, row, top) {
    c.fillStyle = row.colour ?? this.colours.wrong;
    for (const { start, end, value } of row.scores) {
      const x = this.x(start);
      const tall = Math.round(value * row.height);
      if (tall) c.fillRect(x, top + row.height - tall, Math.max(1, this.x(end) - x - 0.5), tall);
    }
  }

  // The score of a label over time, filled where it is above the threshold.
  paintCurve(c, { points, colour, threshold, height }, top) {
    const y = (value) => top + height - 2 - value * (height - 4);
    for (const { start, end, value } of points) {
      if (value < threshold) continue;
      c.fillStyle = colour;
      c.globalAlpha = 0.35;
      c.fillRect(this.x(start), y(value), Math.max(1, this.x(end) - this.x(start)), top + height - y(value));
      c.globalAlpha = 1;
    }
    const path = points.length > 1 ? points.map((p) => [this.x(p.middle), y(p.value)]) : [];
    const [first, last] = [points[0], points.at(-1)];
    if (first) { path.unshift([this.x(first.start), y(first.value)]); path.push([this.x(last.end), y(last.value)]); }
    c.beginPath();
    for (const [x, at] of path) c.lineTo(x, at);
    c.strokeStyle = this.colours.card; c.lineWidth = 4; c.stroke();
    c.strokeStyle = colour; c.lineWidth = 2; c.stroke();
    c.strokeStyle = this.colours.line; c.lineWidth = 1; c.setLineDash([3, 4]);
    c.beginPath(); c.moveTo(this.gutter, y(threshold)); c.lineTo(this.width, y(threshold)); c.stroke();
    c.setLineDash([]);
  }

  paintMarks(c, height) {
    const { in: start, out: end } = this.marks;
    if (start !== undefined || end !== undefined) {
      const [x1, x2] = [this.x(start ?? end), this.x(end ?? this.time)].sort((a, b) => a - b);
      c.fillStyle = this.colours.accent;
      c.globalAlpha = 0.16; c.fillRect(x1, RULER, x2 - x1, height); c.globalAlpha = 1;
      for (const x of [start, end]) if (x !== undefined) c.fillRect(Math.round(this.x(x)) - 1, RULER - 4, 2, height);
    }
    const x = Math.round(this.x(this.time));
    c.fillStyle = this.colours.ink;
    c.fillRect(x - 1, 0, 2, height);
    c.beginPath(); c.moveTo(x - 6, 0); c.lineTo(x + 6, 0); c.lineTo(x, 9); c.fill();
  }

  // What lies under the pointer: an edge or the inside of an own segment, else the track.
  under(x, y) {
    let found = { kind: "track" };
    this.eachRow((row, top) => {
      if (y < top || y > top + row.height || !row.segments) return;
      for (const segment of row.segments) {
        const [from, to] = [this.x(segment.start), this.x(segment.end)];
        if (row.kind === "mine" && Math.abs(x - from) <= EDGE) found = { kind: "edge", edge: "start", segment, row };
        else if (row.kind === "mine" && Math.abs(x - to) <= EDGE) found = { kind: "edge", edge: "end", segment, row };
        else if (x > from && x < to && found.kind !== "edge") found = { kind: "segment", segment, row };
      }
    });
    return found;
  }

  listen() {
    const at = (event) => { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    const clamp = (time) => Math.max(0, Math.min(this.duration, time));
    this.canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = at(event);
      if (event.button !== 0 || x < this.gutter - EDGE) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.hand = this.under(x, y);
      if (this.hand.kind === "segment") this.onSelect?.(this.hand.segment, this.hand.row);
      if (this.hand.kind !== "edge") this.onSeek?.(clamp(this.t(x)), this.hand.kind === "track");
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (!this.hand) {
        this.canvas.style.setProperty("cursor", this.onEdge && this.under(x, y).kind === "edge" ? "ew-resize" : "default");
      } else if (this.hand.kind === "edge") this.onEdge?.(this.hand.segment, this.hand.edge, clamp(this.t(x)), false);
      else this.onSeek?.(clamp(this.t(x)), false);
    });
    const end = (event) => {
      if (this.hand?.kind === "edge") this.onEdge?.(this.hand.segment, this.hand.edge, clamp(this.t(at(event)[0])), true);
      this.hand = null;
    };
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const span = this.view.end - this.view.start;
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) this.moveTo(this.view.start + ((event.deltaX || event.deltaY) / this.width) * span);
      else this.zoom(Math.exp(event.deltaY / 300), clamp(this.t(at(event)[0])));
    }, { passive: false });
  }
}
