// SPDX-License-Identifier: Apache-2.0
// hls.js as it comes, but for the low latency switch.

export function play({ video, url, lowLatency, note }) {
  const { Hls } = window;
  const hls = new Hls({ lowLatencyMode: lowLatency });
  hls.on(Hls.Events.ERROR, (_, { fatal, details, response, error }) => {
    note(fatal, `${details}: ${response?.code >= 400 ? `status ${response.code}` : (error?.message ?? "")}`);
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
  hls.loadSource(url);
  hls.attachMedia(video);
  return () => {
    const details = hls.levels[hls.currentLevel]?.details ?? hls.levels[hls.loadLevel]?.details;
    const date = hls.playingDate;
    return {
      latency: date ? (Date.now() - date.getTime()) / 1000 : hls.latency || null,
      lowLatency: hls.config.lowLatencyMode && (details?.partTarget ?? 0) > 0,
      levels: hls.levels.map((level) => level.height),
    };
  };
}
