// SPDX-License-Identifier: Apache-2.0
// What both drawings share: a canvas as sharp as the screen, and the style sheet's colours.

/** Sizes `canvas` to its box (or to `height`) and returns a context whose unit is the CSS pixel. */
export function prepare(canvas, height = canvas.clientHeight) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const names = ["ground", "line", "line-strong", "text", "dim", "accent", "accent-soft", "held", "played", "buffer", "gap", "mark", "target"];
let palette = null;

/** The colours of the scheme in force. */
export function colours() {
  if (palette) return palette;
  const style = getComputedStyle(document.documentElement);
  palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return palette;
}

matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
  palette = null;
});

export const font = (size, weight = 400) => `${weight} ${size}px "IBM Plex Sans", system-ui, sans-serif`;
