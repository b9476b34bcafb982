// SPDX-License-Identifier: Apache-2.0
// dash.js behind the page's idea of a player. Loaded only when DASH is watched.

import { Debug, MediaPlayer, supportsMediaSource } from "dashjs";

export const name = "dash.js";

// Codes of single downloads that failed: manifest, media segment, initialisation segment.
const DOWNLOADS = new Set([25, 27, 28]);

export const supported = () => supportsMediaSource();

/**
 * Plays `url` in `video`. `onFailure(kind, text)` is called when only a new player can help; kind is
 * "network" or "media". `onTrouble(text)` is called when dash.js may still help itself.
 */
export function open(video, url, { onFailure, onTrouble, onLevels }) {
  const player = MediaPlayer().create();
  let closed = false;
  player.updateSettings({
    debug: { logLevel: Debug.LOG_LEVEL_ERROR },
    streaming: {
      // The manifest's ServiceDescription sets the target and the playback rates.
      applyServiceDescription: true,
      liveCatchup: { enabled: true },
      buffer: { bufferToKeep: 30 },
    },
  });
  const events = MediaPlayer.events;
  let initialised = false;
  player.on(events.STREAM_INITIALIZED, () => {
    initialised = true;
    onLevels();
  });
  player.on(events.ERROR, ({ error }) => {
    if (closed) return;
    const text = error?.message || `error ${error?.code ?? error}`;
    if (initialised && DOWNLOADS.has(error?.code)) onTrouble(text);
    else onFailure(/mediasource|decode|MEDIA_ERR|codec|append/i.test(text) ? "media" : "network", text);
  });
  player.initialize(video, url, true);

  const ready = (read, otherwise) => {
    try {
      return closed ? otherwise : read();
    } catch {
      return otherwise; // dash.js throws when asked before it has a stream.
    }
  };
  const shown = () => ready(() => player.getCurrentRepresentationForType("video"), null);
  return {
    native: player,
    version: player.getVersion(),
    programTime: () => ready(() => player.timeAsUTC() * 1000, 0) || null,
    targetLatency: () => ready(() => player.getTargetLiveDelay(), 0) || null,
    lowLatency: () => ready(() => player.getLowLatencyModeEnabled() === true, false),
    level: () => (shown() ? describe(shown()) : null),
    levels: () => ready(() => player.getRepresentationsByType("video"), []).map((level) => ({ key: level.id, ...describe(level) })),
    select(key) {
      player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: key === null } } } });
      if (key !== null) player.setRepresentationForTypeById("video", key);
    },
    // Its own catch-up brings the playhead back, by a seek where it must.
    behindEdge: () => 0,
    seekToEdge() {
      ready(() => player.seekToOriginalLive(), null);
    },
    close() {
      closed = true;
      // NB: dash.js leaves listeners on the element that fail when "canplay" comes after its end.
      video.dispatchEvent(new Event("canplay"));
      player.destroy();
    },
  };
}

const describe = (level) => ({ width: level.width || null, height: level.height || null, bitrate: level.bandwidth || level.bitrateInKbit * 1000 || null });
