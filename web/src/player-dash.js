// SPDX-License-Identifier: MIT OR Apache-2.0
// dash.js behind the page's idea of a player. Loaded only when DASH is watched.

import * as dashjs from "dashjs";

export const name = "dash.js";
export const version = dashjs.Version ?? "";
export const supported = () => "MediaSource" in window || "ManagedMediaSource" in window;

/**
 * Plays `url` in `video`. `onFailure(kind, text)` is called once, when only a new player can help;
 * kind is "network" or "media".
 */
export function open(video, url, { onFailure, onLevels }) {
  const player = dashjs.MediaPlayer().create();
  let closed = false;
  player.updateSettings({
    debug: { logLevel: dashjs.Debug?.LOG_LEVEL_ERROR ?? 1 },
    streaming: {
      // The manifest's ServiceDescription sets the target and the playback rates.
      delay: { applyServiceDescription: true },
      liveCatchup: { enabled: true },
      buffer: { bufferToKeep: 30 },
    },
  });
  const events = dashjs.MediaPlayer.events;
  player.on(events.STREAM_INITIALIZED, () => onLevels());
  player.on(events.ERROR, ({ error }) => {
    if (closed) return;
    const text = error?.message || String(error?.code ?? error);
    const media = /mediasource|decode|MEDIA_ERR|codec|append/i.test(text);
    onFailure(media ? "media" : "network", text);
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
    programTime: () => ready(() => player.timeAsUTC() * 1000, 0) || null,
    targetLatency: () => ready(() => player.getTargetLiveDelay(), 0) || null,
    lowLatency: () => ready(() => player.getLowLatencyModeEnabled() === true, false),
    level: () => (shown() ? describe(shown()) : null),
    levels: () => ready(() => player.getRepresentationsByType("video"), []).map((level) => ({ key: level.id, ...describe(level) })),
    select(key) {
      player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: key === null } } } });
      if (key !== null) player.setRepresentationForTypeById("video", key);
    },
    seekToEdge() {
      ready(() => player.seekToOriginalLive(), null);
    },
    close() {
      closed = true;
      player.destroy();
    },
  };
}

const describe = (level) => ({ width: level.width || null, height: level.height || null, bitrate: level.bandwidth || level.bitrateInKbit * 1000 || null });
