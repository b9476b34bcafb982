// SPDX-License-Identifier: Apache-2.0
// Counts the times the picture stood still. Players report stalls each in their own way, some of them
// never; the playhead itself is the same for all.

const STALL_AFTER_MS = 250;

export class StallMeter {
  #position = null;
  #advancedAt = 0;
  #standing = false;
  #finishedMs = 0;
  /** @type {{at: number, durationMs: number}[]} newest last, the latest twenty */
  recent = [];
  count = 0;

  /** Takes one look. `expected`: playback was asked for and the picture had started. */
  observe(position, expected, now) {
    if (!expected) {
      this.#settle(now);
      this.#position = null;
      return;
    }
    if (this.#position === null || position !== this.#position) {
      this.#settle(now);
      this.#position = position;
      this.#advancedAt = now;
      return;
    }
    if (!this.#standing && now - this.#advancedAt > STALL_AFTER_MS) {
      this.#standing = true;
      this.count += 1;
    }
  }

  get standing() {
    return this.#standing;
  }

  /** All stalls together, the present one included. */
  seconds(now) {
    return (this.#finishedMs + (this.#standing ? now - this.#advancedAt : 0)) / 1000;
  }

  #settle(now) {
    if (!this.#standing) return;
    this.#standing = false;
    const durationMs = now - this.#advancedAt;
    this.#finishedMs += durationMs;
    this.recent.push({ at: Date.now(), durationMs });
    if (this.recent.length > 20) this.recent.shift();
  }
}
