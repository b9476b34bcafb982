// SPDX-License-Identifier: Apache-2.0
// The origin's clock, as far as this machine can tell. A viewer's clock may be minutes off, and a
// latency read from it would be too; so each answer of /time gives an offset with an error of at most
// half its round trip, and the offset of the shortest recent round trip is the one in force.

const SAMPLES_KEPT = 12;
const SAMPLE_EVERY_MS = 10_000;
const FIRST_SAMPLES = 4;
const DEADLINE_MS = 4_000;

export class ServerClock {
  #samples = [];

  constructor(url) {
    this.url = url;
  }

  /** Measures until `signal` aborts. */
  async run(signal) {
    for (let n = 0; !signal.aborted; n += 1) {
      await this.#measure(signal);
      await new Promise((wake) => setTimeout(wake, n < FIRST_SAMPLES ? 150 : SAMPLE_EVERY_MS));
    }
  }

  /** Milliseconds to add to the local clock. */
  get offsetMs() {
    return this.#best()?.offsetMs ?? 0;
  }

  /** The most that `offsetMs` can be wrong, or null while nothing was measured. */
  get uncertaintyMs() {
    const best = this.#best();
    return best ? best.roundTripMs / 2 : null;
  }

  /** UTC of the origin in milliseconds since 1970. */
  now() {
    return Date.now() + this.offsetMs;
  }

  #best() {
    let best = null;
    for (const sample of this.#samples) if (!best || sample.roundTripMs < best.roundTripMs) best = sample;
    return best;
  }

  async #measure(signal) {
    const sent = Date.now();
    const started = performance.now();
    try {
      const answer = await fetch(this.url, { cache: "no-store", signal: AbortSignal.any?.([signal, AbortSignal.timeout(DEADLINE_MS)]) ?? signal });
      // The clock is read when the head of the answer arrives; its body may come later.
      const roundTripMs = performance.now() - started;
      const utc = Date.parse((await answer.text()).trim());
      if (!answer.ok || Number.isNaN(utc)) return;
      this.#samples.push({ offsetMs: utc - (sent + roundTripMs / 2), roundTripMs });
      if (this.#samples.length > SAMPLES_KEPT) this.#samples.shift();
    } catch {
      // An origin that does not answer is reported by the channel's own poll.
    }
  }
}
