/**
 * Plays a clip and knows which frame is on the screen.
 *
 * A clip is {id, media, frame_url, fps, frames}: `media` is an address that the browser plays, or null;
 * then `frame_url(n)` gives frame n as a picture. Frame n begins at n / fps seconds.
 */
import { h } from "./dom.js";

export const SPEEDS = [0.25, 0.5, 1, 1.5, 2, 4];
const PICTURES_AHEAD = 8;
const PICTURES_KEPT = 48;

export class Player extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.clip = null;
    this.frame = 0;
    this.speed = 1;
    this.direction = 0; // 1 plays, -1 plays backwards, 0 stands
    this.ready = new Map(); // videos of this clip and of those that come next, by id
    this.pictures = new Map(); // frames as pictures, by number
    this.wanted = null; // frame to seek to when the seek under way ends
    this.loop = false; // play again from the start at the end
    this.range = null; // {first, last}: play these frames again and again
    this.closed = false;
  }

  get time() { return this.clip ? this.frame / this.clip.fps : 0; }
  get playing() { return this.direction !== 0; }
  get last() { return this.clip ? Math.max(0, this.clip.frames - 1) : 0; }

  /** Show a clip from a frame on; it stands. */
  load(clip, frame = 0) {
    this.pause();
    this.clip = clip;
    this.range = null;
    this.frame = Math.min(frame, Math.max(0, clip.frames - 1));
    this.wanted = null;
    this.pictures.clear();
    this.video = clip.media ? this.take(clip) : null;
    this.picture = clip.media ? null : h("img", { alt: "", draggable: "false" });
    const shown = this.video ?? this.picture;
    for (const old of this.stage.querySelectorAll("video, img")) if (old !== shown) old.remove();
    this.stage.prepend(shown);
    if (this.video) this.watch(this.video);
    this.seek(this.frame);
  }

  /** Begin to load the clips that come next, and forget others. */
  prefetch(clips) {
    const kept = new Set([this.clip, ...clips].filter((c) => c?.media).map((c) => c.id));
    for (const [id, video] of this.ready) {
      if (kept.has(id)) continue;
      video.removeAttribute("src");
      video.load(); // frees the decoder
      this.ready.delete(id);
    }
    for (const clip of clips) if (clip.media) this.take(clip);
  }

  take(clip) {
    let video = this.ready.get(clip.id);
    if (!video || video.dataset.media !== clip.media) {
      video = h("video", { src: clip.media, preload: "auto", playsinline: true, "data-media": clip.media, "aria-label": "Video" });
      video.muted = true;
      video.preservesPitch = false;
      this.ready.set(clip.id, video);
    }
    return video;
  }

  watch(video) {
    if (video.dataset.watched) return;
    video.dataset.watched = "1";
    const shown = (_, data) => {
      if (this.closed || !this.ready.has(this.clip?.id)) return;
      if (video === this.video && this.direction > 0) this.show(this.frameAt(data.mediaTime));
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
    video.addEventListener("seeked", () => {
      if (video !== this.video) return;
      const next = this.wanted;
      this.wanted = null;
      if (next !== null) this.seekVideo(next);
      else this.dispatchEvent(new Event("seeked"));
    });
    video.addEventListener("ended", () => { if (video === this.video) { this.show(this.last); this.pause(); } });
    video.addEventListener("error", () => { if (video === this.video) this.dispatchEvent(new Event("broken")); });
  }

  frameAt(seconds) {
    return Math.max(0, Math.min(this.last, Math.round(seconds * this.clip.fps)));
  }

  show(frame) {
    if (this.range && this.direction > 0 && frame > this.range.last) return this.restart();
    if (frame === this.frame) return;
    this.frame = frame;
    this.dispatchEvent(new Event("frame"));
  }

  restart() {
    if (this.video?.seeking) return;
    if (this.video) this.seekVideo(this.range.first);
    this.began = { frame: this.range.first, at: performance.now() };
    this.frame = this.range.first;
    this.dispatchEvent(new Event("frame"));
  }

  /** Go to a frame. It is shown as soon as it is decoded; `frame` is it at once. */
  seek(frame) {
    if (!this.clip) return;
    const target = Math.max(0, Math.min(this.last, Math.round(frame)));
    if (this.video) this.seekVideo(target);
    else this.showPicture(target);
    this.frame = target;
    this.dispatchEvent(new Event("frame"));
  }

  seekVideo(frame) {
    if (this.video.seeking) { this.wanted = frame; return; }
    this.video.currentTime = (frame + 0.5) / this.clip.fps; // the middle: no rounding shows its neighbour
  }

  /** Move by frames; playing stops. */
  step(frames) {
    const from = this.frame;
    this.pause();
    this.seek(from + frames);
  }

  async play(direction = 1) {
    if (!this.clip) return;
    if (direction > 0 && this.frame >= this.last) this.seek(0);
    this.pause();
    this.direction = direction;
    this.began = { frame: this.frame, at: performance.now() };
    if (this.video && direction > 0) {
      this.video.playbackRate = this.speed;
      this.video.loop = this.loop;
      await this.video.play().catch(() => this.pause()); // another call came between
    } else this.tick();
    this.dispatchEvent(new Event("state"));
  }

  pause() {
    const was = this.direction;
    this.direction = 0;
    cancelAnimationFrame(this.timer);
    if (this.video && !this.video.paused) this.video.pause();
    if (was && this.clip) {
      if (this.video && was > 0) this.seekVideo(this.frame); // exactly the frame that was shown last
      this.dispatchEvent(new Event("state"));
    }
  }

  toggle() { return this.playing ? this.pause() : this.play(); }

  setSpeed(speed) {
    this.speed = Math.max(SPEEDS[0], Math.min(SPEEDS.at(-1), speed));
    if (this.video) this.video.playbackRate = this.speed;
    if (this.playing) this.began = { frame: this.frame, at: performance.now() };
    this.dispatchEvent(new Event("state"));
  }

  /** Play faster or slower by a step of SPEEDS. */
  shift(steps) {
    const index = SPEEDS.findIndex((speed) => speed >= this.speed - 1e-9);
    this.setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, index + steps))]);
  }

  // Pictures, and every clip backwards: frames by the clock, as fast as they come.
  tick() {
    this.timer = requestAnimationFrame(() => {
      if (!this.direction) return;
      const passed = ((performance.now() - this.began.at) / 1000) * this.speed * this.clip.fps;
      const target = Math.round(this.began.frame + this.direction * passed);
      if (target < 0 || target > this.last) {
        if (this.loop && target > this.last) this.began = { frame: 0, at: performance.now() };
        else { this.seek(target); this.pause(); return; }
      }
      if (this.video) { if (!this.video.seeking) this.seek(target); }
      else this.advance(target);
      this.tick();
    });
  }

  advance(target) {
    for (let n = 0; n <= PICTURES_AHEAD; n++) this.loadPicture(target + this.direction * n);
    // The newest picture that has come: the frame is the one on the screen, not the one wanted.
    for (let n = target; n * this.direction >= this.frame * this.direction; n -= this.direction) {
      if (this.pictures.get(n)?.complete) { this.showPicture(n); this.show(n); return; }
    }
  }

  loadPicture(frame) {
    if (frame < 0 || frame > this.last) return null;
    let picture = this.pictures.get(frame);
    if (!picture) {
      picture = new Image();
      picture.src = this.clip.frame_url(frame);
      this.pictures.set(frame, picture);
      if (this.pictures.size > PICTURES_KEPT) this.pictures.delete(this.pictures.keys().next().value);
    }
    return picture;
  }

  showPicture(frame) {
    const picture = this.loadPicture(frame);
    const clip = this.clip;
    picture.decode().then(() => {
      if (this.clip === clip && (this.frame === frame || this.direction)) this.picture.src = picture.src;
      this.dispatchEvent(new Event("seeked"));
    }, () => this.dispatchEvent(new Event("broken")));
  }

  close() {
    this.pause();
    this.closed = true;
    this.prefetch([]);
    this.stage.replaceChildren();
  }
}
