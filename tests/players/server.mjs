// SPDX-License-Identifier: Apache-2.0
// Serves the bare player page and the players' own bundles on a free port of the loopback address, so
// that a stream is always played from another origin than its own: CORS is part of every test.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const packageOf = (name) => {
  // `exports` of a package may hide its files; its folder is found from wherever it was resolved.
  const entry = require.resolve(name);
  return entry.slice(0, entry.lastIndexOf(`/node_modules/${name}/`) + `/node_modules/${name}`.length);
};

const files = {
  "/": () => join(here, "page/index.html"),
  "/hls.js": () => join(here, "page/hls.js"),
  "/dash.js": () => join(here, "page/dash.js"),
  "/shaka.js": () => join(here, "page/shaka.js"),
  "/library/hls.js": () => join(packageOf("hls.js"), "dist/hls.min.js"),
  "/library/dash.js": () => join(packageOf("dashjs"), "dist/modern/umd/dash.all.min.js"),
  "/library/shaka.js": () => join(packageOf("shaka-player"), "dist/shaka-player.compiled.js"),
};
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

/** Starts the server: `{origin, address(options), close()}`. */
export async function servePages() {
  const server = createServer(async (request, response) => {
    const find = files[new URL(request.url, "http://localhost").pathname];
    try {
      if (!find) throw new Error("no such file");
      const path = find();
      const body = await readFile(path);
      response.writeHead(200, { "content-type": types[extname(path)] }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening, failed) => server.once("error", failed).listen(0, "127.0.0.1", listening));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    address: ({ player, url, lowLatency }) => `${origin}/?${new URLSearchParams({ player, url, ll: String(lowLatency) })}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
