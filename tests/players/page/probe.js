// SPDX-License-Identifier: Apache-2.0
// Runs in the page before anything else and watches its video element, whatever player fills it.

(() => {
  const LOOK_EVERY_MS = 50;
  const STALL_AFTER_MS = 250;
  const MOVING_WITHIN_MS = 5_000;

  let begun = performance.now();
  let startedAt = null;
  let position = null;
  let advancedAt = 0;
  let standing = false;
  let stalls = 0;
  let stallMs = 0;
  let played = 0;
  let minBuffer = null;
  let height = 0;
  let switches = 0;
  let latencies = [];
  let framesBefore = { total: 0, dropped: 0 };
  const failures = [];

  const video = () => document.querySelector("video");
  const stats = () => window.headwater?.stats() ?? {};

  function look() {
    const picture = video();
    if (!picture) return;
    const now = performance.now();
    const { currentTime } = picture;
    const failure = stats().error;
    if (failure && !failures.includes(failure)) failures.push(failure);

    if (startedAt === null) {
      if (picture.readyState >= 3 && !picture.paused && position !== null && currentTime > position) {
        startedAt = now;
        advancedAt = now;
        height = picture.videoHeight;
      }
      position = currentTime;
      return;
    }
    if (picture.videoHeight > 0 && picture.videoHeight !== height) {
      if (height > 0) switches += 1;
      height = picture.videoHeight;
    }
    const elapsed = (now - advancedAt) / 1000;
    const moved = currentTime - position;
    position = currentTime;
    if (moved !== 0) {
      if (standing) stallMs += now - advancedAt;
      standing = false;
      // A seek is a move that time cannot explain; only what was shown counts as played.
      if (moved > 0 && moved < elapsed * 2.5 + 0.25) played += moved;
      advancedAt = now;
    } else if (!standing && now - advancedAt > STALL_AFTER_MS && !picture.paused && !picture.ended) {
      standing = true;
      stalls += 1;
    }
    const ahead = bufferAhead(picture);
    if (!picture.ended) minBuffer = minBuffer === null ? ahead : Math.min(minBuffer, ahead);
    const { latency } = stats();
    if (typeof latency === "number" && Number.isFinite(latency)) latencies.push(latency);
  }

  function bufferAhead({ buffered, currentTime }) {
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) <= currentTime + 0.1 && currentTime <= buffered.end(index)) return buffered.end(index) - currentTime;
    }
    return 0;
  }

  function frames() {
    const quality = video()?.getVideoPlaybackQuality();
    return { total: quality?.totalVideoFrames ?? 0, dropped: quality?.droppedVideoFrames ?? 0 };
  }

  const median = (values) => (values.length > 0 ? [...values].sort((a, b) => a - b)[values.length >> 1] : null);
  const round = (value) => (value === null ? null : Math.round(value * 1000) / 1000);

  window.probe = {
    /** Start-up counts from here; without a call, from the opening of the page. */
    begin() {
      begun = performance.now();
    },
    /** Everything but start-up counts from here. */
    measure() {
      stalls = 0;
      stallMs = 0;
      played = 0;
      minBuffer = null;
      switches = 0;
      latencies = [];
      framesBefore = frames();
    },
    read() {
      const now = performance.now();
      const picture = video();
      const { lowLatency, levels, errors, warnings } = stats();
      const { total, dropped } = frames();
      return {
        moving: startedAt !== null && (picture?.ended === true || now - advancedAt < MOVING_WITHIN_MS),
        report: {
          started: startedAt !== null,
          startup_ms: startedAt === null ? null : Math.round(startedAt - begun),
          played_seconds: round(played),
          stalls,
          stall_seconds: round((stallMs + (standing ? now - advancedAt : 0)) / 1000),
          latency_seconds: round(median(latencies)),
          min_buffer: round(minBuffer),
          levels: [...(levels ?? [])].sort((a, b) => a - b),
          level_switches: switches,
          level_height: height || null,
          decoded_frames: total - framesBefore.total,
          dropped_frames: dropped - framesBefore.dropped,
          errors: [...failures, ...(errors ?? [])],
          warnings: warnings ?? [],
          low_latency: lowLatency === true,
        },
      };
    },
  };
  setInterval(look, LOOK_EVERY_MS);
})();
