/**
 * Keys that paint: held while the video plays, or tapped at the start and at the end.
 *
 * Frame n of a clip covers n / fps to (n + 1) / fps. A stretch is sent while it grows, so that a crash
 * costs at most the last quarter of a second; all parts of it are one step of undo.
 */
const TAP_MS = 280;
const SEND_MS = 250;

export class Painter {
  /** send(edits, text, options) saves; changed() is told when what is painted changes. */
  constructor(player, { send, changed }) {
    Object.assign(this, { player, send, changed });
    this.active = null;
  }

  /** A label's key went down. */
  press(label) {
    const open = this.active;
    if (open) this.finish();
    if (open?.label === label) return;
    this.active = { clip: this.player.clip, label, from: this.player.frame, pressed: performance.now(), sentTo: null };
    this.timer = setInterval(() => this.grow(), SEND_MS);
    this.changed();
  }

  /** A label's key came up: after a short tap the stretch stays open until the next tap. */
  release(label) {
    const { active } = this;
    if (active?.label !== label) return;
    const tapped = performance.now() - active.pressed < TAP_MS || this.player.frame === active.from;
    if (!tapped) this.finish();
  }

  /** Return {start, end, label} of what is painted now, or null. */
  get stretch() {
    if (!this.active) return null;
    const { clip, from, label } = this.active;
    const [first, last] = [Math.min(from, this.player.frame), Math.max(from, this.player.frame)];
    const ends = last >= clip.frames - 1;
    return { start: first / clip.fps, end: ends ? null : (last + 1) / clip.fps, label, until: (last + 1) / clip.fps, last };
  }

  grow() {
    if (this.player.direction <= 0) return; // while it stands, the end may still be moved back
    const { start, end, label, last } = this.stretch;
    this.save([{ op: "paint", clip: this.active.clip.id, start, end, label }], label);
    this.active.sentTo = last;
  }

  finish() {
    if (!this.active) return;
    clearInterval(this.timer);
    const { start, end, label, last, until } = this.stretch;
    const { clip, sentTo } = this.active;
    const edits = [{ op: "paint", clip: clip.id, start, end, label }];
    if (sentTo !== null && sentTo > last) edits.push({ op: "paint", clip: clip.id, start: until, end: (sentTo + 1) / clip.fps, label: null });
    this.save(edits, label);
    this.active = null;
    this.changed();
  }

  save(edits, label) {
    this.send(edits, `paint ${label} on ${this.active.clip.name}`, { join: this.active.sentTo !== null });
  }

  /** Give an open stretch up; what was already sent is undone by the caller. */
  cancel() {
    clearInterval(this.timer);
    const wasSent = this.active && this.active.sentTo !== null;
    this.active = null;
    this.changed();
    return wasSent;
  }
}
