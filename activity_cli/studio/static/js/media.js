/** How a clip is shown in this browser: as a video, as a copy of it, or as pictures. */
import { get } from "./api.js";

const CODECS = { h264: 'video/mp4; codecs="avc1.42E01E"', vp9: 'video/webm; codecs="vp9"', vp8: 'video/webm; codecs="vp8"', av1: 'video/mp4; codecs="av01.0.05M.08"' };
const probe = document.createElement("video");
const can = Object.entries(CODECS).filter(([, type]) => probe.canPlayType(type)).map(([name]) => name).join(",");
const known = new Map();

/** Return what Player.load takes, pictures while a copy is made (`making`), or {broken: reason}. */
export async function loadMedia(clip, { pictures = false } = {}) {
  const key = `${clip.id} ${pictures}`;
  if (known.has(key)) return known.get(key);
  const answer = await get(`/api/clips/${encodeURIComponent(clip.id)}/media`, { can });
  const shown = { id: clip.id, name: clip.name, bytes: clip.bytes, fps: answer.fps, frames: answer.frames, media: null, pictures: true, frame_url: (n) => `/frames/${clip.id}/${n}` };
  if (!answer.frames) return { broken: clip.damage || "It has no frames." };
  if (answer.kind === "proxy" && !answer.ready) return { ...shown, making: true };
  if (answer.kind !== "frames" && !pictures) Object.assign(shown, { media: answer.url, pictures: false });
  known.set(key, shown);
  return shown;
}
