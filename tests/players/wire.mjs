// SPDX-License-Identifier: Apache-2.0
// Counts what a player asked of the origin, by the URL grammar of the origin, as seen by the browser.

const LOGGED_MAX = 400;

export class Wire {
  #began = Date.now();
  #entries = new Map();
  log = [];
  counts = { playlist: 0, blocking: 0, skip: 0, parts: 0, segments: 0, mpd: 0, init: 0, status_4xx: 0, status_5xx: 0, failed: 0 };

  /** Counts the requests of `page` whose URL passes `wanted`. */
  listen(page, wanted) {
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (!url.protocol.startsWith("http") || !wanted(url)) return;
      const entry = { t_ms: Date.now() - this.#began, url: url.pathname + url.search, status: null, duration_ms: null };
      this.#entries.set(request, entry);
      if (this.log.length < LOGGED_MAX) this.log.push(entry);
      this.#count(url);
    });
    page.on("response", (response) => {
      const entry = this.#entries.get(response.request());
      if (!entry) return;
      entry.status = response.status();
      if (entry.status >= 500) this.counts.status_5xx += 1;
      else if (entry.status >= 400) this.counts.status_4xx += 1;
    });
    page.on("requestfinished", (request) => this.#end(request));
    page.on("requestfailed", (request) => {
      // A player that changes its mind aborts its own request; that is no failure of the origin.
      if (this.#entries.has(request) && request.failure()?.errorText !== "net::ERR_ABORTED") this.counts.failed += 1;
      this.#end(request);
    });
  }

  #end(request) {
    const entry = this.#entries.get(request);
    if (!entry) return;
    entry.duration_ms = Date.now() - this.#began - entry.t_ms;
    this.#entries.delete(request);
  }

  #count({ pathname, searchParams }) {
    const { counts } = this;
    if (pathname.endsWith(".m3u8")) {
      counts.playlist += 1;
      if (searchParams.has("_HLS_msn")) counts.blocking += 1;
      if (searchParams.has("_HLS_skip")) counts.skip += 1;
    } else if (pathname.endsWith(".mpd")) counts.mpd += 1;
    else if (/\/\d+\.\d+\.m4s$/.test(pathname)) counts.parts += 1;
    else if (/\/\d+\.m4s$/.test(pathname)) counts.segments += 1;
    else if (/\/init-\d+\.mp4$/.test(pathname)) counts.init += 1;
  }
}
