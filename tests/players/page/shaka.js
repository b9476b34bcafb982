// SPDX-License-Identifier: Apache-2.0
// shaka-player as it comes, but for the low latency switch. It plays both HLS and DASH.

export async function play({ video, url, lowLatency, note }) {
  const { shaka } = window;
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  player.addEventListener("error", ({ detail }) => note(detail.severity === shaka.util.Error.Severity.CRITICAL, describe(detail)));
  player.configure({ streaming: { lowLatencyMode: lowLatency, ...(lowLatency ? { liveSync: { enabled: true } } : {}) } });
  await player.attach(video);
  player.load(url).then(
    () => video.play(),
    (error) => note(true, describe(error)),
  );
  return () => {
    const date = player.isLive() ? player.getPlayheadTimeAsDate() : null;
    return {
      latency: date ? (Date.now() - date.getTime()) / 1000 : null,
      lowLatency: lowLatency && (player.getManifest()?.isLowLatency ?? false),
      levels: [...new Set(player.getVariantTracks().map((track) => track.height).filter(Boolean))],
    };
  };
}

const describe = (error) => `shaka ${error.code ?? ""}: ${JSON.stringify(error.data ?? error.message ?? "").slice(0, 300)}`;
