/** Charts as SVG whose colours are CSS classes. */
import { percent, svg } from "./dom.js";

/**
 * Draw lines of values 0 to 1 over steps: series are [{name, kind, values}], nulls are gaps.
 * `steps` is the number of steps that the axis has room for, or null for those that are there.
 */
export function lineChart({ series, steps = null, width = 560, height = 200, label, mark = null, names = null, band = null, top: highest = 1 }) {
  const [left, right, top, bottom] = [44, 12, 10, 24];
  const longest = Math.max(2, steps ?? 0, ...series.map((s) => s.values.length));
  const x = (step) => left + (step / (longest - 1)) * (width - left - right);
  const y = (value) => top + (1 - Math.max(0, Math.min(1, value))) * (height - top - bottom);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
  for (const share of [0, 0.5, 1]) {
    drawing.append(svg("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), class: "grid-line" }),
      svg("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, highest === 1 ? percent(share).replace(".0", "") : (share * highest).toFixed(2)));
  }
  if (band) band.forEach(([low, high], step) => drawing.append(svg("line", { x1: x(step), x2: x(step), y1: y(low), y2: y(high), class: "interval" })));
  if (mark !== null) drawing.append(svg("line", { x1: x(mark), x2: x(mark), y1: top, y2: height - bottom, class: "best-line" }));
  for (const { kind, values } of series) {
    const points = values.map((value, step) => (value === null ? null : `${x(step).toFixed(1)},${y(value).toFixed(1)}`)).filter(Boolean);
    if (points.length > 1) drawing.append(svg("polyline", { points: points.join(" "), class: `series ${kind}` }));
    if (points.length && points.length < 12) for (const point of points) { const [cx, cy] = point.split(","); drawing.append(svg("circle", { cx, cy, r: 3.5, class: `series-dot ${kind}` })); }
  }
  const ends = names ?? ["1", String(longest)];
  drawing.append(svg("text", { x: left, y: height - 6 }, ends[0]), svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, ends[1]));
  return drawing;
}

/** Draw an estimate with its interval, all 0 to 1. */
export function intervalBar({ value, low, high, label }) {
  const at = (share) => 10 + share * 580;
  const drawing = svg("svg", { viewBox: "0 0 600 46", class: "chart interval-bar", role: "img", "aria-label": label });
  drawing.append(svg("rect", { x: 10, y: 13, width: 580, height: 4, rx: 2, class: "track-line" }));
  if (low !== null && high !== null) drawing.append(svg("rect", { x: at(low), y: 9, width: Math.max(3, at(high) - at(low)), height: 12, rx: 6, class: "range" }));
  drawing.append(svg("rect", { x: at(value) - 2.5, y: 4, width: 5, height: 22, rx: 2.5, class: "value" }));
  for (const share of [0, 0.25, 0.5, 0.75, 1]) drawing.append(svg("text", { x: at(share), y: 42, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, percent(share).replace(".0", "")));
  return drawing;
}
