// SPDX-License-Identifier: Apache-2.0
// The watch page: one channel with its readings, or, when the address names none, the channels to
// choose from.

import * as address from "./address.js";
import * as channel from "./channel.js";
import { ServerClock } from "./clock.js";
import { History } from "./history.js";
import * as notice from "./notice.js";
import { Session } from "./session.js";
import * as timeline from "./timeline.js";

const element = (id) => document.getElementById(id);
const request = address.parse(location);
const clock = new ServerClock(address.time(request));
const forever = new AbortController().signal;

clock.run(forever);
setInterval(() => put(element("clock"), new Date(clock.now()).toISOString().slice(11, 19)), 250);
if (request.channel) watch();
else pick();

/** Sets text only when it differs, so that live regions speak once and selections survive. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

async function pick() {
  const list = element("channels");
  element("picker").hidden = false;
  for (;;) {
    try {
      const rows = await channel.list();
      const shown = JSON.stringify(rows.map(({ id, state }) => [id, state]));
      if (list.dataset.shown !== shown) {
        list.dataset.shown = shown;
        list.replaceChildren(...rows.map(channelRow));
      }
      put(element("picker-text"), rows.length > 0 ? "" : "No channel is on the air. A channel appears here when an encoder starts to send.");
    } catch {
      put(element("picker-text"), "The origin does not answer. Trying again every two seconds.");
    }
    await new Promise((wake) => setTimeout(wake, 2000));
  }
}

function channelRow({ id, state }) {
  const row = document.createElement("li");
  const anchor = document.createElement("a");
  anchor.href = address.link({ ...request, channel: id });
  const name = document.createElement("b");
  name.textContent = id;
  const spring = document.createElement("span");
  spring.className = "spring";
  anchor.append(name, spring);
  if (state) {
    const shown = notice.state({ found: true, reached: true, state });
    const badge = document.createElement("span");
    badge.className = "state";
    badge.dataset.level = shown.level;
    badge.textContent = shown.text;
    anchor.append(badge);
  }
  row.append(anchor);
  return row;
}

function watch() {
  const video = element("video");
  const session = new Session(video, clock, request);
  const history = new History();
  let account = null;
  let accountAt = 0;

  window.headwater = {
    stats: () => session.stats(),
    get player() {
      return session.player?.native ?? null;
    },
  };

  document.title = `${request.channel} – Headwater`;
  put(element("channel"), request.channel);
  put(element("hls-address"), address.hls(request));
  put(element("dash-address"), address.dash(request));
  for (const id of ["channel", "state", "protocol", "watch"]) element(id).hidden = false;
  document.querySelectorAll("button[data-copy]").forEach(wireCopy);
  wireProtocol(session, history);
  wireRendition(session);
  wireNotice(session);
  element("edge").addEventListener("click", () => session.toEdge());

  channel.poll(request.channel, forever, (report) => {
    // The strip of the last answer stays when one is missed: it goes on moving left.
    account = report.reached && report.found ? report : { ...report, tracks: report.found ? (account?.tracks ?? []) : [] };
    if (report.reached) accountAt = report.at ?? Date.now();
    session.channelReported(report);
    showState(account);
    showTracks(account, session);
  });
  session.open();

  setInterval(() => {
    history.push(performance.now(), session.latency, session.started ? session.bufferAhead : null, session.player?.targetLatency() ?? null, session.stalls.standing);
    showReadings(account, session, video);
    showNotice(account, session, video);
  }, 250);

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let drawnAt = -Infinity;
  const frame = (at) => {
    requestAnimationFrame(frame);
    if (at - drawnAt < (calm.matches ? 1000 : 30)) return;
    drawnAt = at;
    const now = clock.now();
    const programTime = session.programTime;
    const viewer = {
      at: programTime,
      bufferedTo: programTime === null ? null : programTime + session.bufferAhead * 1000,
      active: activeTracks(account, session),
    };
    timeline.draw(element("timeline"), account ?? { tracks: [] }, Date.now() - accountAt, viewer, now);
    history.draw(element("history"), performance.now());
  };
  requestAnimationFrame(frame);
}

function wireProtocol(session, history) {
  for (const input of document.querySelectorAll("input[name=protocol]")) {
    input.checked = input.value === session.request.player;
    input.addEventListener("change", () => {
      const next = { ...session.request, player: input.value };
      window.history.replaceState(null, "", address.link(next));
      history.clear();
      session.open(next);
    });
  }
}

function wireRendition(session) {
  const select = element("rendition");
  select.addEventListener("change", () => session.select(select.value || null));
  session.onLevels = () => {
    const levels = session.player?.levels() ?? [];
    const options = [new Option("Auto", "")];
    const ordered = [...levels].sort((a, b) => (b.height ?? 0) - (a.height ?? 0) || (b.bitrate ?? 0) - (a.bitrate ?? 0));
    for (const level of ordered) options.push(new Option(describeLevel(level), level.key));
    const same = options.length === select.options.length && options.every((option, index) => option.value === select.options[index].value && option.text === select.options[index].text);
    if (!same) select.replaceChildren(...options);
    select.value = session.chosen ?? "";
    select.disabled = levels.length === 0;
  };
}

function wireNotice(session) {
  const button = element("notice").querySelector("button");
  button.addEventListener("click", () => {
    if (button.dataset.action === "play") session.play();
    if (button.dataset.action === "list") location.assign(address.link({ ...session.request, channel: null }));
  });
}

function wireCopy(button) {
  const label = button.firstChild;
  const rest = label.nodeValue;
  button.addEventListener("click", async () => {
    const source = element(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.nodeValue = "Copied";
    } catch {
      // Without a secure context there is no clipboard; the selection is one keystroke away from it.
      getSelection().selectAllChildren(source);
      label.nodeValue = "Selected";
    }
    setTimeout(() => {
      label.nodeValue = rest;
    }, 1600);
  });
}

function showState(account) {
  const { level, text } = notice.state(account);
  element("state").dataset.level = level;
  put(element("state"), text);
}

function showNotice(account, session, video) {
  const node = element("notice");
  const said = notice.overPicture(account, session.playback, Date.now());
  const place = session.moving ? "top" : "center";
  node.hidden = said === null;
  // The browser's own controls and spinner have nothing to add under a notice that covers them.
  video.controls = said === null || place === "top";
  if (!said) return;
  node.dataset.place = place;
  put(node.querySelector(".notice-title"), said.title);
  put(node.querySelector(".notice-text"), said.text);
  const button = node.querySelector("button");
  button.hidden = !said.action;
  button.dataset.action = said.action ?? "";
  put(button, { play: "Play", list: "Show all channels" }[said.action] ?? "");
}

function showReadings(account, session, video) {
  const { player, latency } = session;
  const target = player?.targetLatency() ?? null;
  const uncertainty = clock.uncertaintyMs;
  put(element("latency"), latency === null ? "–" : latency.toFixed(latency < 100 ? 2 : 0));
  const parts = [`Target ${target === null ? "–" : `${target.toFixed(2)} s`}`];
  parts.push(uncertainty === null ? "clock not checked" : `clock ± ${Math.max(1, Math.round(uncertainty))} ms`);
  put(element("target"), parts.join(", "));
  const behind = latency !== null && target !== null ? latency - target : 0;
  document.querySelector(".latency").dataset.level = behind > 10 ? "bad" : behind > 2 ? "warn" : "";
  element("edge").hidden = behind <= 3 || account?.state !== "live";

  const level = player?.level() ?? null;
  const size = video.videoWidth > 0 ? `${video.videoWidth} × ${video.videoHeight}` : "–";
  put(element("playing"), level?.bitrate ? `${size}, ${rate(level.bitrate)}` : size);
  put(element("buffer"), session.started ? `${session.bufferAhead.toFixed(2)} s` : "–");
  put(element("rate"), !session.started ? "–" : video.paused ? "Paused" : `${video.playbackRate.toFixed(2)} ×`);
  const quality = video.getVideoPlaybackQuality?.();
  put(element("dropped"), session.started && quality ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}` : "–");
  const { count } = session.stalls;
  const last = session.stalls.recent.at(-1);
  const seconds = session.stalls.seconds(performance.now()).toFixed(1);
  put(element("stalls"), count === 0 ? "None" : `${count}, ${seconds} s in all${last && count > 1 ? `, last ${(last.durationMs / 1000).toFixed(1)} s` : ""}`);
  put(element("about"), session.player ? `${session.playerName} ${session.player.version}${session.player.lowLatency() ? ", low latency" : ""}` : "");
}

/** The labels beside the strips, and in words what the strips show. */
function showTracks(account, session) {
  const active = activeTracks(account, session);
  const list = element("tracks");
  if (list.children.length !== account.tracks.length) {
    list.replaceChildren(
      ...account.tracks.map(() => {
        const row = document.createElement("li");
        row.append(document.createElement("b"), document.createElement("span"));
        return row;
      }),
    );
  }
  account.tracks.forEach((track, index) => {
    const row = list.children[index];
    row.dataset.active = String(active.has(track.id));
    put(row.firstChild, trackTitle(track));
    const defects = Object.entries(track.defects);
    row.lastChild.className = defects.length > 0 ? "defect" : "";
    put(row.lastChild, defects.length > 0 ? defects.map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(", ") : trackDetail(track));
  });
  const gaps = account.tracks.reduce((sum, track) => sum + track.segments.filter((segment) => segment.gap).length, 0);
  const words = `${account.tracks.length} tracks. ${gaps === 0 ? "No gap" : `Gaps: ${gaps}`} in the segments shown.`;
  if (element("timeline").getAttribute("aria-label") !== words) element("timeline").setAttribute("aria-label", words);
}

function trackTitle(track) {
  if (track.kind === "video") return track.height ? `${track.width ?? "?"} × ${track.height}` : track.id;
  if (track.kind === "audio") return `Audio${track.language && track.language !== "und" ? `, ${track.language}` : ""}`;
  if (track.kind === "text") return `Subtitles${track.language && track.language !== "und" ? `, ${track.language}` : ""}`;
  return track.id;
}

function trackDetail(track) {
  const words = [track.id];
  if (track.bitrate) words.push(rate(track.bitrate));
  if (track.kind === "video" && track.frameRate) words.push(`${frames(track.frameRate)} fps`);
  if (track.kind === "audio" && track.sampleRate) words.push(`${track.sampleRate / 1000} kHz`);
  return words.join(", ");
}

/** The tracks on screen and in the speakers, as far as it can be told from their sizes. */
function activeTracks(account, session) {
  const active = new Set();
  if (!account || !session.started) return active;
  const { videoHeight } = element("video");
  const bitrate = session.player?.level()?.bitrate ?? 0;
  const fits = account.tracks.filter((track) => track.kind === "video" && track.height === videoHeight);
  fits.sort((a, b) => Math.abs((a.bitrate ?? 0) - bitrate) - Math.abs((b.bitrate ?? 0) - bitrate));
  if (fits[0]) active.add(fits[0].id);
  const audio = account.tracks.find((track) => track.kind === "audio");
  if (audio) active.add(audio.id);
  return active;
}

function describeLevel({ width, height, bitrate }) {
  const size = height ? `${width} × ${height}` : "Unnamed";
  return bitrate ? `${size}, ${rate(bitrate)}` : size;
}

function rate(bits) {
  return bits >= 999_500 ? `${(bits / 1e6).toFixed(bits >= 9.95e6 ? 0 : 1)} Mb/s` : `${Math.round(bits / 1000)} kb/s`;
}

/** "30000/1001" is 29.97. */
function frames(text) {
  const [top, bottom = 1] = String(text).split("/").map(Number);
  const value = top / bottom;
  return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : String(text);
}
