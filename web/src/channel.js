// SPDX-License-Identifier: Apache-2.0
// The origin's own account of a channel, polled once a second and brought into one shape, so that
// nothing else in the page asks whether a field is there.

import * as address from "./address.js";

const POLL_EVERY_MS = 1_000;
const DEADLINE_MS = 4_000;

/**
 * Polls a channel until `signal` aborts and hands each account to `report`.
 *
 * An account is `{reached, found, state, tracks, …}`: `reached` false when the origin did not answer,
 * `found` false when it knows no such channel. `at` is the local time at which the answer was made.
 */
export async function poll(id, signal, report) {
  while (!signal.aborted) {
    const started = Date.now();
    const account = await read(id, signal);
    if (signal.aborted) return;
    report(account);
    await new Promise((wake) => setTimeout(wake, Math.max(200, POLL_EVERY_MS - (Date.now() - started))));
  }
}

/** The channels of the origin as `[{id, state}]`. Throws when it does not answer. */
export async function list() {
  const answer = await fetch(address.channels(), { cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) });
  if (!answer.ok) throw new Error(`the origin answered ${answer.status}`);
  const body = await answer.json();
  const rows = Array.isArray(body) ? body : (body.channels ?? body.items ?? []);
  return rows.map((row) => (typeof row === "string" ? { id: row, state: null } : { id: row.id ?? row.name, state: row.state ?? null, tracks: row.tracks })).filter((row) => row.id);
}

async function read(id, signal) {
  const started = Date.now();
  try {
    const timeout = AbortSignal.timeout(DEADLINE_MS);
    const answer = await fetch(address.channel(id), { cache: "no-store", signal: AbortSignal.any?.([signal, timeout]) ?? timeout });
    if (answer.status === 404) return { reached: true, found: false, state: null, tracks: [] };
    if (!answer.ok) return { reached: false, found: true, state: null, tracks: [], status: answer.status };
    const at = (started + Date.now()) / 2;
    return { ...normalise(await answer.json()), reached: true, found: true, at };
  } catch {
    return { reached: false, found: true, state: null, tracks: [] };
  }
}

function normalise(body) {
  const segmentDuration = positive(body.segment_duration) ?? 2;
  return {
    id: body.id,
    state: typeof body.state === "string" ? body.state : "live",
    startedAt: Date.parse(body.started_at ?? "") || null,
    segmentDuration,
    partDuration: positive(body.part_duration),
    windowSeconds: positive(body.window_seconds),
    profile: body.latency_profile ?? null,
    defects: counts(body.defects),
    tracks: (Array.isArray(body.tracks) ? body.tracks : []).map((track) => normaliseTrack(track, segmentDuration)),
  };
}

function normaliseTrack(track, segmentDuration) {
  const segments = [];
  for (const segment of track.segments ?? []) {
    const start = Date.parse(segment.start ?? "") || (segment.number ?? NaN) * segmentDuration * 1000;
    if (Number.isNaN(start)) continue;
    segments.push({
      number: segment.number ?? null,
      start,
      duration: positive(segment.duration) ?? 0,
      bytes: positive(segment.bytes) ?? 0,
      parts: segment.parts ?? 0,
      gap: segment.gap === true,
      discontinuity: segment.discontinuity === true,
      open: segment.open === true,
    });
  }
  return {
    id: String(track.id ?? "?"),
    kind: track.kind ?? "video",
    codec: track.codec ?? null,
    width: positive(track.width),
    height: positive(track.height),
    frameRate: track.frame_rate ?? null,
    language: track.language ?? null,
    sampleRate: positive(track.sample_rate),
    channels: positive(track.channels),
    bitrate: positive(track.bitrate),
    lastPartAgeMs: typeof track.last_part_age_ms === "number" ? track.last_part_age_ms : null,
    defects: counts(track.defects),
    segments,
  };
}

/** Counters may be plain numbers or objects of them; only what is above zero is of interest. */
function counts(defects) {
  const found = {};
  for (const [name, value] of Object.entries(defects ?? {})) if (typeof value === "number" && value > 0) found[name] = value;
  return found;
}

const positive = (value) => (typeof value === "number" && value > 0 ? value : null);
