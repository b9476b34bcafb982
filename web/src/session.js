// SPDX-License-Identifier: Apache-2.0
// Keeps a stream playing: loads the chosen player, starts it, and starts it anew when it gives up or
// when the picture stands still although the channel is live. Holds all that the page shows about
// playback; draws nothing.

import * as address from "./address.js";
import { StallMeter } from "./stalls.js";

const LOOK_EVERY_MS = 100;
const RETRY_AFTER_MS = [1_000, 2_000, 3_000, 5_000];
const SETTLED_AFTER_MS = 10_000;
const STANDING_MS_MAX = 10_000;
const STANDING_IN_TROUBLE_MS_MAX = 3_000;
const BEHIND_AFTER_STALL_MAX = 1.5;

const players = {
  hls: () => import("./player-hls.js"),
  dash: () => import("./player-dash.js"),
};

export class Session {
  #video;
  #clock;
  #opening = 0;
  #retries = 0;
  #retryTimer = null;
  #openedAt = 0;
  #movedAt = null;
  #position = null;
  #levelsSeen = "";
  #trouble = false;
  #over = false;

  player = null;
  playerName = "";
  stalls = new StallMeter();
  started = false;
  blocked = false;
  unsupported = false;
  failure = null;
  lastError = null;
  retryAt = 0;
  chosen = null;
  /** Called when the list of renditions may have changed. */
  onLevels = () => {};

  constructor(video, clock, request) {
    this.#video = video;
    this.#clock = clock;
    this.request = request;
    video.addEventListener("playing", () => {
      this.started = true;
      this.blocked = false;
    });
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Opens the stream with the player that `request.player` names, in place of any other. */
  async open(request = this.request) {
    this.close();
    this.request = request;
    const opening = ++this.#opening;
    this.#openedAt = performance.now();
    this.failure = null;
    this.started = false;
    this.chosen = null;
    this.#trouble = false;
    let library;
    try {
      library = await players[request.player]();
    } catch {
      if (opening === this.#opening) this.#fail("network", "the player could not be loaded");
      return;
    }
    if (opening !== this.#opening) return;
    if (!library.supported()) {
      this.unsupported = true;
      return;
    }
    const url = request.player === "dash" ? address.dash(request) : address.hls(request);
    this.playerName = library.name;
    this.player = library.open(this.#video, url, {
      onLevels: () => {
        this.onLevels();
        this.play();
      },
      onTrouble: (text) => {
        this.#trouble = true;
        this.lastError = text;
      },
      onFailure: (kind, text) => {
        if (opening === this.#opening) this.#fail(kind, text);
      },
    });
  }

  close() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#opening += 1;
    this.player?.close();
    this.player = null;
    this.#video.playbackRate = 1;
    this.#movedAt = null;
    this.#position = null;
  }

  /** Starts the picture; notes when the browser wants the viewer to do it. */
  play() {
    this.#video.play()?.catch((error) => {
      if (error.name === "NotAllowedError") this.blocked = true;
    });
  }

  select(key) {
    this.chosen = key;
    this.player?.select(key);
  }

  toEdge() {
    this.player?.seekToEdge();
    this.play();
  }

  /** Hears of the channel once a second, and revives a player that the channel has outlived. */
  channelReported(account) {
    if (account.state) this.#over = account.state === "ended";
    if (account.state !== "live" || !this.player || this.#retryTimer !== null) return;
    const now = performance.now();
    const wanted = !this.#video.paused || this.#video.ended;
    const idle = now - Math.max(this.#movedAt ?? 0, this.#openedAt);
    if (wanted && !this.blocked && idle > (this.#trouble ? STANDING_IN_TROUBLE_MS_MAX : STANDING_MS_MAX)) this.open();
  }

  /** UTC at the playhead by the stream, milliseconds, or null. */
  get programTime() {
    return this.started ? (this.player?.programTime() ?? null) : null;
  }

  /** Seconds between now, by the origin's clock, and the playhead. */
  get latency() {
    const at = this.programTime;
    // After the end there is no life to be behind of.
    return at === null || (this.#over && !this.moving) ? null : (this.#clock.now() - at) / 1000;
  }

  /** Seconds of media that can play without another byte. */
  get bufferAhead() {
    const { buffered, currentTime } = this.#video;
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) <= currentTime + 0.1 && currentTime <= buffered.end(index)) return buffered.end(index) - currentTime;
    }
    return 0;
  }

  get moving() {
    return this.#movedAt !== null && performance.now() - this.#movedAt < 500;
  }

  get standingMs() {
    return this.stalls.standing ? performance.now() - (this.#movedAt ?? this.#openedAt) : 0;
  }

  /** How the notices see it. */
  get playback() {
    return {
      channel: this.request.channel,
      started: this.started,
      moving: this.moving,
      blocked: this.blocked,
      unsupported: this.unsupported,
      failure: this.failure,
      retryAt: this.retryAt,
      standingMs: this.standingMs,
      waitedMs: performance.now() - this.#openedAt,
    };
  }

  /** How tests see it. */
  stats() {
    const video = this.#video;
    return {
      player: this.request.player,
      currentTime: video.currentTime,
      latency: this.latency,
      targetLatency: this.player?.targetLatency() ?? null,
      bufferAhead: this.bufferAhead,
      stalls: this.stalls.count,
      stallSeconds: this.stalls.seconds(performance.now()),
      levelHeight: video.videoHeight || null,
      levels: (this.player?.levels() ?? []).map((level) => level.height),
      bitrate: this.player?.level()?.bitrate ?? null,
      playbackRate: video.playbackRate,
      playing: this.started && !video.paused && !video.ended && this.moving,
      error: this.failure,
      lastError: this.lastError,
      lowLatency: this.player?.lowLatency() ?? false,
    };
  }

  #look() {
    const video = this.#video;
    const now = performance.now();
    const stood = this.stalls.standing;
    this.stalls.observe(video.currentTime, this.started && this.player !== null && !video.paused && !video.ended && !this.#over, now);
    // What a stall cost is given back at once. A viewer who sought back on purpose is left there.
    if (stood && !this.stalls.standing && this.player?.behindEdge() > BEHIND_AFTER_STALL_MAX) this.player.seekToEdge();
    if (this.#position !== null && video.currentTime !== this.#position) this.#movedAt = now;
    this.#position = video.currentTime;
    if (this.#retries > 0 && this.moving && now - this.#openedAt > SETTLED_AFTER_MS) this.#retries = 0;
    const levels = JSON.stringify(this.player?.levels() ?? []);
    if (levels !== this.#levelsSeen) {
      this.#levelsSeen = levels;
      this.onLevels();
    }
  }

  #fail(kind, text) {
    const wait = RETRY_AFTER_MS[Math.min(this.#retries, RETRY_AFTER_MS.length - 1)];
    this.#retries += 1;
    this.close();
    this.failure = `${kind === "network" ? "the stream could not be fetched" : "the stream could not be decoded"}: ${text}`;
    this.lastError = this.failure;
    this.retryAt = Date.now() + wait;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      this.open();
    }, wait);
  }
}
