// SPDX-License-Identifier: Apache-2.0
// What the page's own address asks for, and the addresses that follow from it. The URL grammar of
// streams is the origin's; this is its only copy in the page.

/** @typedef {{channel: string|null, player: "hls"|"dash", base: string}} Request */

/** Reads the query of the page. An unknown player means HLS; `base` is another origin to play through. */
export function parse(location) {
  const query = new URLSearchParams(location.search);
  const channel = query.get("channel")?.trim() || null;
  const player = query.get("player") === "dash" ? "dash" : "hls";
  return { channel, player, base: parseBase(query.get("base"), location) };
}

function parseBase(text, location) {
  try {
    const base = new URL(text || location.origin, location.origin);
    if (base.protocol !== "http:" && base.protocol !== "https:") return location.origin;
    return base.origin + base.pathname.replace(/\/+$/, "");
  } catch {
    return location.origin;
  }
}

/** The page's address for another choice, keeping what is the default out of it. */
export function link({ channel, player, base }) {
  const query = new URLSearchParams();
  if (channel) query.set("channel", channel);
  if (player === "dash") query.set("player", "dash");
  if (base && base !== location.origin) query.set("base", base);
  return `?${query}`;
}

export const hls = ({ base, channel }) => `${base}/live/${encodeURIComponent(channel)}/multivariant.m3u8`;
export const dash = ({ base, channel }) => `${base}/live/${encodeURIComponent(channel)}/manifest.mpd`;
export const time = ({ base }) => `${base}/time`;
export const channels = () => "/api/v1/channels";
export const channel = (id) => `/api/v1/channels/${encodeURIComponent(id)}`;
