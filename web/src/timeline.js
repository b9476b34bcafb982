// SPDX-License-Identifier: Apache-2.0
// The segment timeline: what the origin holds of each track in the last seconds, and where the viewer
// is in it. The origin is asked once a second, but parts come faster; between two answers the parts
// that are due by the announced cadence are drawn fainter until an answer confirms them.

import { colours, font, prepare } from "./canvas.js";

const SPAN_SECONDS = 28;
const SPAN_SECONDS_NARROW = 15;
const FORESEEN_MS_MAX = 2_000;
const HEAD = 24;
const AXIS = 22;

const narrow = matchMedia("(max-width: 720px)");

/**
 * Draws one frame.
 *
 * `now` and every time in `viewer` are UTC milliseconds by the origin's clock; `account` is what
 * `channel.poll` reported, `accountAge` how many milliseconds ago. `viewer` is `{at, bufferedTo,
 * active}`: the playhead, the end of what is buffered, and the ids of the tracks being played.
 */
export function draw(canvas, account, accountAge, viewer, now) {
  const rowHeight = narrow.matches ? 54 : 42;
  const labelBand = narrow.matches ? 24 : 0;
  const { context, width, height } = prepare(canvas, HEAD + account.tracks.length * rowHeight + AXIS);
  const colour = colours();
  const rows = account.tracks.map((track) => foresee(track, account, accountAge));
  const edge = Math.max(0, ...rows.map((row) => row.edge));
  const right = Math.max(now, edge);
  const span = (narrow.matches ? SPAN_SECONDS_NARROW : SPAN_SECONDS) * 1000;
  const x = (at) => width - 1 - ((right - at) / span) * (width - 1);
  const bottom = height - AXIS;

  axis(context, { x, right, span, top: HEAD, bottom, width, colour });
  rows.forEach((row, index) => {
    const top = HEAD + index * rowHeight + labelBand;
    const box = { top: top + 5, bottom: HEAD + (index + 1) * rowHeight - 5 };
    strip(context, { row, box, x, viewer: viewer.active.has(row.id) ? viewer : null, colour });
  });
  flags(context, { x, edge, viewer, now, bottom, width, colour });
}

/** The segments of a track with the parts that must have come since it was reported. */
function foresee(track, account, accountAge) {
  const segments = track.segments;
  const last = segments.at(-1);
  if (!last) return { id: track.id, segments, foreseen: [], edge: 0, peak: 1 };
  const reportedEdge = last.start + last.duration * 1000;
  const peak = Math.max(...segments.map((_, index) => bitrate(measured(segments, index))));
  const row = { id: track.id, segments, foreseen: [], edge: reportedEdge, peak };
  if (account.state !== "live" || track.lastPartAgeMs === null) return row;

  const step = (account.partDuration ?? account.segmentDuration) * 1000;
  const since = Math.min(track.lastPartAgeMs + accountAge, FORESEEN_MS_MAX);
  let end = reportedEdge;
  for (let due = Math.floor(since / step); due > 0; due -= 1) {
    const boundary = last.start + Math.ceil((end - last.start + 1) / (account.segmentDuration * 1000)) * account.segmentDuration * 1000;
    const stop = Math.min(end + step, boundary);
    row.foreseen.push({ start: end, end: stop, opens: Math.abs((end - last.start) % (account.segmentDuration * 1000)) < 1 });
    end = stop;
  }
  row.edge = end;
  return row;
}

/** A segment in progress opens with its key frame: the one before tells better how busy it will be. */
const measured = (segments, index) => (segments[index].open ? (segments[index - 1] ?? segments[index]) : segments[index]);

const bitrate = (segment) => (segment.duration > 0 ? (segment.bytes * 8) / segment.duration : 0);

function strip(context, { row, box, x, viewer, colour }) {
  const full = box.bottom - box.top;
  // A block is as tall as its bitrate against the track's busiest segment, but never a mere line.
  const tall = (rate) => (row.peak > 0 && rate > 0 ? Math.round(full * (0.45 + 0.55 * (rate / row.peak))) : full);
  let previous = null;
  for (const [index, segment] of row.segments.entries()) {
    const end = segment.start + segment.duration * 1000;
    if (previous?.number != null && segment.number > previous.number + 1) {
      hole(context, x(previous.start + previous.duration * 1000) + 1, x(segment.start), box, colour.gap);
    }
    previous = segment;
    if (x(end) < 0) continue;
    if (segment.gap) {
      hole(context, x(segment.start) + 1, x(end), box, colour.gap);
    } else {
      const blockHeight = tall(bitrate(measured(row.segments, index)));
      const parts = Math.max(1, segment.parts || 1);
      const step = (end - segment.start) / parts;
      for (let part = 0; part < parts; part += 1) {
        const start = segment.start + part * step;
        block(context, { start, end: start + step, opens: part === 0, x, bottom: box.bottom, height: blockHeight, viewer, colour });
      }
    }
    if (segment.discontinuity) mark(context, x(segment.start), box, colour.mark);
  }
  context.globalAlpha = 0.55;
  const height = previous ? tall(bitrate(measured(row.segments, row.segments.length - 1))) : full;
  for (const part of row.foreseen) block(context, { ...part, x, bottom: box.bottom, height, viewer, colour });
  context.globalAlpha = 1;
}

function block(context, { start, end, opens, x, bottom, height, viewer, colour }) {
  const fill = (from, to, style) => {
    const left = x(from) + (from === start ? (opens ? 2 : 0.75) : 0);
    const span = x(to) - left;
    if (span <= 0 || to <= from) return;
    context.fillStyle = style;
    context.fillRect(left, bottom - height, span, height);
  };
  if (!viewer || viewer.at === null) {
    fill(start, end, colour.held);
    return;
  }
  const clamp = (at) => Math.min(end, Math.max(start, at));
  const played = clamp(viewer.at);
  const buffered = clamp(Math.max(viewer.at, viewer.bufferedTo ?? viewer.at));
  fill(start, played, colour.played);
  fill(played, buffered, colour.accent);
  fill(buffered, end, colour.held);
}

function hole(context, left, right, box, colour) {
  const height = box.bottom - box.top;
  context.save();
  context.beginPath();
  context.rect(left, box.top, Math.max(2, right - left), height);
  context.clip();
  context.fillStyle = colour;
  context.globalAlpha = 0.35;
  context.fillRect(left, box.top, Math.max(2, right - left), height);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let start = left - height; start < right; start += 6) {
    context.moveTo(start, box.bottom);
    context.lineTo(start + height, box.top);
  }
  context.stroke();
  context.restore();
}

function mark(context, at, box, colour) {
  context.fillStyle = colour;
  context.fillRect(at, box.top - 3, 2, box.bottom - box.top + 4);
  context.beginPath();
  context.moveTo(at + 1 - 4, box.top - 4);
  context.lineTo(at + 1 + 4, box.top - 4);
  context.lineTo(at + 1, box.top + 2);
  context.fill();
}

function axis(context, { x, right, span, top, bottom, width, colour }) {
  context.font = font(12);
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  context.strokeStyle = colour.line;
  context.lineWidth = 1;
  for (let at = Math.ceil((right - span) / 5000) * 5000; at <= right; at += 5000) {
    const place = Math.round(x(at)) + 0.5;
    context.beginPath();
    context.moveTo(place, top);
    context.lineTo(place, bottom + 4);
    context.stroke();
    const half = 26;
    if (place < half || place > width - half) continue;
    context.fillStyle = colour.dim;
    context.fillText(new Date(at).toISOString().slice(11, 19), place, bottom + 17);
  }
  context.beginPath();
  context.moveTo(0, bottom + 0.5);
  context.lineTo(width, bottom + 0.5);
  context.stroke();
}

function flags(context, { x, edge, viewer, now, bottom, width, colour }) {
  context.font = font(12, 500);
  context.textBaseline = "alphabetic";
  const edgeAt = edge > 0 ? Math.min(width - 1, x(edge)) : null;
  if (edgeAt !== null && edgeAt > 0) {
    context.fillStyle = colour.accent;
    context.fillRect(edgeAt - 1, HEAD - 4, 1.5, bottom - HEAD + 4);
  }
  const at = viewer.at === null ? null : x(viewer.at);
  let free = 0;
  if (at !== null && at >= 0 && at <= width) {
    context.fillStyle = colour.text;
    context.fillRect(at - 1, HEAD - 4, 2, bottom - HEAD + 4);
    const text = `Viewer, ${((now - viewer.at) / 1000).toFixed(1)} s`;
    const textWidth = context.measureText(text).width;
    context.textAlign = at > textWidth + 8 ? "right" : "left";
    context.fillText(text, at + (context.textAlign === "right" ? 1 : -1), HEAD - 10);
    free = context.textAlign === "right" ? at + 1 : at + textWidth;
  } else if (at !== null && at < 0) {
    context.fillStyle = colour.text;
    context.textAlign = "left";
    const text = `← Viewer, ${Math.round((now - viewer.at) / 1000)} s behind`;
    context.fillText(text, 0, HEAD - 10);
    free = context.measureText(text).width;
  }
  if (edgeAt === null) return;
  context.fillStyle = colour.accent;
  context.textAlign = "right";
  const label = width - free > 78 ? "Live edge" : "Edge";
  if (Math.min(width, edgeAt + 1) - context.measureText(label).width > free + 8) context.fillText(label, Math.min(width, edgeAt + 1), HEAD - 10);
}
