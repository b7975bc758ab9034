/** Segments of a clip: {start, end, label} in seconds, in order, without overlap. */

const CLOSE = 0.0015; // times are kept with three decimals

/** Return the segments of a clip with numbers in place of null. */
export function spansOf(clip) {
  const duration = durationOf(clip);
  return clip.segments.map(({ start, end, label }) => ({ start: start ?? 0, end: end ?? duration, label })).sort((a, b) => a.start - b.start);
}

export const durationOf = (clip) => clip.duration ?? Math.max(1, ...clip.segments.map((s) => s.end ?? 0));

/** Return spans as the server keeps them: null at the ends of the video. */
export function wireOf(spans, duration) {
  return spans.map(({ start, end, label }) => ({ start: start <= CLOSE ? null : start, end: end >= duration - CLOSE ? null : end, label }));
}

/** Return the label of the whole clip, or null. */
export function wholeLabel(clip) {
  return clip.segments.length === 1 && clip.segments[0].start === null && clip.segments[0].end === null ? clip.segments[0].label : null;
}

export const spanAt = (spans, time) => spans.find((span) => time >= span.start - CLOSE && time < span.end - CLOSE);

/** Return spans with an edge moved; an edge of a neighbour at the same time moves too. */
export function moveEdge(spans, span, edge, time, { duration, frame }) {
  const moved = spans.map((s) => ({ ...s }));
  const index = spans.indexOf(span);
  const other = edge === "start" ? index - 1 : index + 1;
  const touches = spans[other] && Math.abs(spans[other][edge === "start" ? "end" : "start"] - span[edge]) < CLOSE;
  const bound = spans[other] ? (touches ? spans[other][edge] + (edge === "start" ? frame : -frame) : spans[other][edge === "start" ? "end" : "start"]) : edge === "start" ? 0 : duration;
  const inner = edge === "start" ? span.end - frame : span.start + frame;
  const [low, high] = edge === "start" ? [bound, inner] : [inner, bound];
  const at = Math.max(low, Math.min(high, Math.round(time / frame) * frame));
  moved[index][edge] = at;
  if (touches) moved[other][edge === "start" ? "end" : "start"] = at;
  return moved;
}

/** Return {span, edge} nearest to a time, or null. */
export function nearestEdge(spans, time) {
  const edges = spans.flatMap((span) => [{ span, edge: "start" }, { span, edge: "end" }]);
  return edges.reduce((best, e) => (!best || Math.abs(e.span[e.edge] - time) < Math.abs(best.span[best.edge] - time) ? e : best), null);
}

/** Return spans with a stretch painted over, as the server does it; label null erases. */
export function painted(spans, start, end, label) {
  const rest = spans.flatMap((s) => [{ ...s, end: Math.min(s.end, start) }, { ...s, start: Math.max(s.start, end) }]).filter((s) => s.end - s.start > CLOSE);
  if (label !== null) rest.push({ start, end, label });
  return rest.sort((a, b) => a.start - b.start);
}

/** Return {start, end, value} per window of the curve: 1 = the model gives your label no score. */
export function disagreement(spans, curve) {
  if (!curve || !spans.length) return [];
  return windows(curve).flatMap(({ start, end, middle, scores }) => {
    const mine = spanAt(spans, middle);
    if (!mine) return [];
    const index = curve.labels.indexOf(mine.label);
    return index < 0 ? [] : [{ start, end, value: 1 - scores[index] }];
  });
}

/** Return the windows of a curve, each with the time for which it stands alone. */
export function windows(curve) {
  const middles = curve.starts.map((start, i) => (start + curve.ends[i]) / 2);
  return middles.map((middle, i) => ({
    middle, scores: curve.scores[i],
    start: i ? (middles[i - 1] + middle) / 2 : curve.starts[0],
    end: i < middles.length - 1 ? (middle + middles[i + 1]) / 2 : curve.ends[i],
  }));
}
