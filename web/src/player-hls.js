// SPDX-License-Identifier: Apache-2.0
// hls.js behind the page's idea of a player. Loaded only when HLS is watched.

import Hls from "hls.js";

// hls.js speeds up only while more than a second is buffered: below this it would change its rate for ever.
const TARGET_SECONDS_MIN = 1;

export const name = "hls.js";
export const supported = () => Hls.isSupported();

/**
 * Plays `url` in `video`. `onFailure(kind, text)` is called when only a new player can help; kind is
 * "network" or "media".
 */
export function open(video, url, { onFailure, onLevels }) {
  const hls = new Hls({
    lowLatencyMode: true,
    // Faster than this is heard; the sound keeps its pitch below it.
    maxLiveSyncPlaybackRate: 1.08,
    backBufferLength: 30,
    enableWorker: true,
  });
  let closed = false;
  let recoveries = 0;
  const fail = (kind, text) => {
    if (closed) return;
    onFailure(kind, text);
  };

  hls.once(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
    if (details.partHoldBack > 0 && details.partHoldBack < TARGET_SECONDS_MIN) hls.targetLatency = TARGET_SECONDS_MIN;
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => onLevels());
  hls.on(Hls.Events.LEVELS_UPDATED, () => onLevels());
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    // One recovery is cheap and usually enough; a second in a row means the stream is what is wrong.
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries++ < 1) {
      hls.recoverMediaError();
      return;
    }
    const status = error.response?.code ?? 0;
    const cause = status >= 400 ? `status ${status}` : error.error?.message;
    fail(error.type === Hls.ErrorTypes.NETWORK_ERROR ? "network" : "media", cause ? `${error.details}, ${cause}` : error.details);
  });
  hls.loadSource(url);
  hls.attachMedia(video);

  const shown = () => hls.levels[hls.currentLevel] ?? hls.levels[hls.loadLevel] ?? null;
  return {
    native: hls,
    version: Hls.version,
    /** UTC at the playhead in milliseconds, or null. */
    programTime: () => hls.playingDate?.getTime() || null,
    targetLatency: () => hls.targetLatency || null,
    lowLatency: () => hls.config.lowLatencyMode && (shown()?.details?.partTarget ?? 0) > 0,
    level: () => (shown() ? describe(shown()) : null),
    levels: () => hls.levels.map((level, index) => ({ key: String(index), ...describe(level) })),
    /** Takes a key of `levels()`, or null to let the player choose. What is buffered still plays out. */
    select(key) {
      hls.loadLevel = key === null ? -1 : Number(key);
    },
    /** Seconds that the playhead is behind where it should be. hls.js lets a viewer stay there. */
    behindEdge: () => Math.max(0, (hls.liveSyncPosition ?? 0) - video.currentTime),
    seekToEdge() {
      const position = hls.liveSyncPosition;
      if (position) video.currentTime = position;
    },
    close() {
      closed = true;
      hls.destroy();
    },
  };
}

const describe = (level) => ({ width: level.width || null, height: level.height || null, bitrate: level.averageBitrate || level.bitrate || null });
