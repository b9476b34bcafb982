// SPDX-License-Identifier: Apache-2.0
// What is the matter, in words. One thing is said at a time: the one nearest to the cause.

/** The channel's state as the bar shows it: `{level, text}`. */
export function state(account) {
  if (!account) return { level: "dim", text: "Connecting" };
  if (!account.found) return { level: "bad", text: "No such channel" };
  if (!account.reached) return { level: "bad", text: "Origin unreachable" };
  const known = {
    live: { level: "good", text: "Live" },
    starting: { level: "warn", text: "Starting" },
    stalled: { level: "warn", text: "No input" },
    ended: { level: "dim", text: "Ended" },
  };
  return known[account.state] ?? { level: "dim", text: account.state };
}

/**
 * What to say over the picture, or null: `{title, text, action}`; action is "play", "reload" or "list".
 * `playback` is `{channel, started, moving, blocked, unsupported, failure, retryAt, standingMs}`.
 */
export function overPicture(account, playback, now) {
  if (playback.unsupported) return { title: "This browser cannot play live streams", text: "It lacks Media Source Extensions. Open one of the addresses below in another player." };
  if (account && !account.found && !playback.moving) return { title: `There is no channel “${playback.channel}”`, text: "It may have been removed, or its name may be mistyped.", action: "list" };
  if (playback.blocked) return { title: "Ready to play", text: "Your browser asks for a click before a video may start.", action: "play" };
  if (!navigator.onLine && !playback.moving) return { title: "This device is offline", text: "Playback goes on as soon as the network is back." };
  if (account && !account.reached && !playback.moving) {
    return { title: "The origin does not answer", text: account.status ? `It answered with status ${account.status}. Trying again.` : "It may be restarting, or the network is gone. Trying again every second." };
  }
  if (account?.state === "starting" && !playback.moving) return { title: "The channel is starting", text: "The picture comes with the encoder's first segment." };
  if (account?.state === "ended" && !playback.moving) return { title: "This broadcast has ended", text: "If the encoder returns, playback starts by itself." };
  if (account?.state === "stalled") {
    return { title: "The encoder has stopped sending", text: playback.moving ? "What is in the buffer still plays." : "Playback goes on as soon as it returns." };
  }
  if (playback.failure) {
    const seconds = Math.max(0, Math.ceil((playback.retryAt - now) / 1000));
    return { title: "The player gave up on the stream", text: `${sentence(playback.failure)} Starting again${seconds > 0 ? ` in ${seconds} s` : ""}.` };
  }
  if (!playback.started) return playback.waitedMs > 700 ? { title: "Loading the stream", text: "" } : null;
  if (playback.standingMs > 1000) return { title: "Waiting for data", text: `The picture has stood still for ${Math.floor(playback.standingMs / 1000)} s.` };
  return null;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.*$/, "")}.`;
