// SPDX-License-Identifier: Apache-2.0
// The last minute of latency and buffer, drawn on one scale of seconds: the distance between the two
// lines is what the origin and the network took, the buffer alone is what the viewer has in hand.

import { colours, font, prepare } from "./canvas.js";

const SPAN_MS = 60_000;
const RIGHT = 30;

export class History {
  #samples = [];

  /** `latency` and `buffer` in seconds or null; `now` in milliseconds of any steady clock. */
  push(now, latency, buffer, target, standing) {
    this.#samples.push({ at: now, latency, buffer, target, standing });
    while (this.#samples.length > 0 && now - this.#samples[0].at > SPAN_MS + 1000) this.#samples.shift();
  }

  clear() {
    this.#samples.length = 0;
  }

  draw(canvas, now) {
    const { context, width, height } = prepare(canvas);
    const colour = colours();
    const plot = width - RIGHT;
    const top = ceiling(this.#samples);
    const x = (at) => plot - ((now - at) / SPAN_MS) * plot;
    const y = (seconds) => height - 1 - (Math.min(seconds, top) / top) * (height - 12);

    context.font = font(12);
    context.textBaseline = "middle";
    context.fillStyle = colour.dim;
    context.strokeStyle = colour.line;
    context.lineWidth = 1;
    for (const seconds of [0, top / 2, top]) {
      const level = Math.round(y(seconds)) - 0.5;
      context.beginPath();
      context.moveTo(0, level);
      context.lineTo(plot, level);
      context.stroke();
      if (seconds > 0) context.fillText(`${seconds % 1 ? seconds.toFixed(1) : seconds} s`, plot + 6, Math.max(7, level));
    }
    if (this.#samples.length < 2) return;

    context.save();
    context.beginPath();
    context.rect(0, 0, plot, height);
    context.clip();
    this.#stalls(context, x, height, colour.gap);
    this.#area(context, x, y, colour.buffer, colour.held);
    const target = this.#samples.at(-1).target;
    if (target) {
      context.setLineDash([4, 4]);
      context.strokeStyle = colour.target;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(0, y(target));
      context.lineTo(plot, y(target));
      context.stroke();
      context.setLineDash([]);
    }
    this.#line(context, x, y, "latency", colour.accent, 2);
    context.restore();
  }

  #line(context, x, y, key, colour, lineWidth) {
    context.strokeStyle = colour;
    context.lineWidth = lineWidth;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    for (const sample of this.#samples) {
      const value = sample[key];
      if (value === null) {
        drawing = false;
        continue;
      }
      if (drawing) context.lineTo(x(sample.at), y(value));
      else context.moveTo(x(sample.at), y(value));
      drawing = true;
    }
    context.stroke();
  }

  #area(context, x, y, fill, edge) {
    const bottom = y(0);
    context.fillStyle = fill;
    context.beginPath();
    context.moveTo(x(this.#samples[0].at), bottom);
    for (const sample of this.#samples) context.lineTo(x(sample.at), y(sample.buffer ?? 0));
    context.lineTo(x(this.#samples.at(-1).at), bottom);
    context.fill();
    this.#line(context, x, y, "buffer", edge, 1.5);
  }

  #stalls(context, x, height, fill) {
    context.fillStyle = fill;
    context.globalAlpha = 0.35;
    let since = null;
    let previous = null;
    for (const sample of [...this.#samples, null]) {
      if (sample?.standing) {
        since ??= (previous ?? sample).at;
      } else if (since !== null) {
        context.fillRect(x(since), 0, Math.max(2, x(previous.at) - x(since)), height);
        since = null;
      }
      previous = sample;
    }
    context.globalAlpha = 1;
  }
}

/** A scale that does not jump about: the next of a few round numbers above everything shown. */
function ceiling(samples) {
  let most = 0;
  for (const { latency, buffer, target } of samples) most = Math.max(most, latency ?? 0, buffer ?? 0, target ?? 0);
  return [2, 4, 6, 10, 20, 40, 60, 120].find((top) => most < top * 0.98) ?? Math.ceil(most / 60) * 60;
}
