#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Plays a live stream in headless Chromium with a real player and prints what a viewer would have
// had, as one line of JSON. See README.md for the fields. Exit status: 0 when the picture started and
// was still moving (or had come to the end of the stream) at the end, 1 when not, 2 on wrong usage.

import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { servePages } from "./server.mjs";
import { Wire } from "./wire.mjs";

const USAGE = `usage: play.mjs --player hls|dash|shaka|page --url URL [--seconds 20] [--start-timeout 30]
  [--ll true|false] [--throttle-kbps N] [--chromium PATH] [--screenshot FILE] [--width 1280] [--height 800]
`;
const PLAYERS = ["hls", "dash", "shaka", "page"];
const BROWSER_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
// What a run may take beyond the seconds it plays: launch, start-up, reading out, closing.
const OVERHEAD_MS_MAX = 60_000;
const CLOSE_MS_MAX = 5_000;
const ANSWER_MS_MAX = 5_000;
const READ_EVERY_MS = 1_000;

const options = readOptions();
const report = {
  player: options.player,
  started: false,
  startup_ms: null,
  played_seconds: 0,
  stalls: 0,
  stall_seconds: 0,
  latency_seconds: null,
  min_buffer: null,
  levels: [],
  level_switches: 0,
  decoded_frames: 0,
  dropped_frames: 0,
  errors: [],
  warnings: [],
  low_latency: false,
  requests: {},
  requests_log: [],
};
const wire = new Wire();
let browser = null;
let pages = null;
let finished = false;
let moving = false;

const deadline = setTimeout(() => finish(`not done ${OVERHEAD_MS_MAX / 1000} s past the playing time`), options.seconds * 1000 + OVERHEAD_MS_MAX);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => finish(`ended by ${signal}`));
run().then(
  () => finish(),
  (error) => finish(firstLine(error)),
);

async function run() {
  pages = await servePages();
  browser = await chromium.launchServer({ executablePath: options.chromium, headless: true, args: BROWSER_FLAGS, timeout: 30_000 });
  const connection = await chromium.connect(browser.wsEndpoint(), { timeout: 10_000 });
  const context = await connection.newContext({ viewport: { width: options.width, height: options.height }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.on("pageerror", (error) => report.errors.push(`page: ${firstLine(error)}`));
  wire.listen(page, (url) => url.origin !== pages.origin);
  await page.addInitScript({ path: new URL("page/probe.js", import.meta.url).pathname });
  if (options.throttleKbps) await throttle(context, page, options.throttleKbps);

  await page.goto(options.player === "page" ? options.url : pages.address(options), { waitUntil: "commit", timeout: 10_000 });
  await started(page);
  if (report.started) {
    const until = Date.now() + options.seconds * 1000;
    for (let left = options.seconds * 1000; left > 0; left = until - Date.now()) {
      await page.waitForTimeout(Math.min(left, READ_EVERY_MS));
      // NB: read as it goes, so that a run cut short still tells what it saw.
      await readProbe(page);
    }
  }
  if (options.screenshot) await page.screenshot({ path: options.screenshot, timeout: 10_000 });
}

/** Waits for the first moving picture, or for a player that has given up, or for the start deadline. */
async function started(page) {
  const until = Date.now() + options.startTimeout * 1000;
  while (Date.now() < until) {
    await readProbe(page);
    if (report.started) {
      // Start-up is not part of the measure: what follows counts from here.
      await answer(page.evaluate(() => window.probe.measure()));
      return;
    }
    if (options.player !== "page" && report.errors.length > 0) return;
    await page.waitForTimeout(100);
  }
  report.errors.push(`no picture within ${options.startTimeout} s`);
}

async function readProbe(page) {
  const seen = await answer(page.evaluate(() => window.probe?.read() ?? null).catch(() => null));
  if (!seen) return;
  const { errors, ...values } = seen.report;
  Object.assign(report, values);
  for (const error of errors) if (!report.errors.includes(error)) report.errors.push(error);
  moving = seen.moving;
}

function answer(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the page did not answer within ${ANSWER_MS_MAX / 1000} s`)), ANSWER_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function throttle(context, page, kbps) {
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: (kbps * 1000) / 8, uploadThroughput: -1 });
}

/** Prints the report once, closes everything and ends the process, whatever hangs. */
async function finish(problem) {
  if (finished) return;
  finished = true;
  clearTimeout(deadline);
  if (problem) report.errors.push(problem);
  report.requests = wire.counts;
  report.requests_log = wire.log;
  const status = report.started && moving && !problem ? 0 : 1;
  await new Promise((written) => process.stdout.write(`${JSON.stringify(report)}\n`, written));
  // NB: kill() ends the browser's whole process group; close() alone waits for a hung renderer.
  setTimeout(() => process.exit(status), CLOSE_MS_MAX);
  pages?.close();
  await browser?.kill().catch(() => {});
  process.exit(status);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        player: { type: "string" },
        url: { type: "string" },
        seconds: { type: "string", default: "20" },
        "start-timeout": { type: "string", default: "30" },
        ll: { type: "string", default: "true" },
        "throttle-kbps": { type: "string" },
        chromium: { type: "string", default: process.env.CHROMIUM ?? "/usr/bin/chromium" },
        screenshot: { type: "string" },
        width: { type: "string", default: "1280" },
        height: { type: "string", default: "800" },
      },
    });
    if (!PLAYERS.includes(values.player)) throw new Error(`--player is one of ${PLAYERS.join(", ")}`);
    if (!values.url) throw new Error("--url is missing");
    if (!["true", "false"].includes(values.ll)) throw new Error("--ll is true or false");
    return {
      player: values.player,
      url: new URL(values.url).href,
      seconds: amount(values, "seconds"),
      startTimeout: amount(values, "start-timeout"),
      lowLatency: values.ll === "true",
      throttleKbps: values["throttle-kbps"] === undefined ? null : amount(values, "throttle-kbps"),
      chromium: values.chromium,
      screenshot: values.screenshot,
      width: amount(values, "width"),
      height: amount(values, "height"),
    };
  } catch (error) {
    process.stderr.write(`${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

function amount(values, name) {
  const value = Number(values[name]);
  if (!(value > 0)) throw new Error(`--${name} is a number above zero, not ${values[name]}`);
  return value;
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0];
}
