// SPDX-License-Identifier: Apache-2.0
// dash.js as it comes; its low latency follows the manifest, and is held back on request.

export function play({ video, url, lowLatency, note }) {
  const { MediaPlayer } = window.dashjs;
  const player = MediaPlayer().create();
  player.updateSettings({
    debug: { logLevel: 0 },
    streaming: {
      applyServiceDescription: lowLatency,
      liveCatchup: { enabled: lowLatency },
      ...(lowLatency ? {} : { delay: { liveDelay: 6 } }),
    },
  });
  player.on(MediaPlayer.events.ERROR, ({ error }) => note(true, `${error?.code ?? ""} ${error?.message ?? error}`.trim()));
  player.initialize(video, url, true);
  const ready = (read, otherwise) => {
    try {
      return read();
    } catch {
      return otherwise; // It throws when asked before it has a stream.
    }
  };
  return () => {
    const utc = ready(() => player.timeAsUTC(), 0);
    return {
      latency: utc > 0 ? Date.now() / 1000 - utc : null,
      lowLatency: lowLatency && ready(() => player.getLowLatencyModeEnabled(), false),
      levels: ready(() => player.getRepresentationsByType("video"), []).map((level) => level.height),
    };
  };
}
