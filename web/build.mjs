// SPDX-License-Identifier: Apache-2.0
// Builds the watch page into dist/: index.html, which is never cached for long, and assets/, whose
// names carry a hash of their content and so may be cached for ever. Every address is relative,
// because the origin decides under which path the page lives.

import { build, context } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");

// The pages of the bundled work that its licences ask to travel with it.
const licences = [
  ["hls.js", "node_modules/hls.js/LICENSE"],
  ["dash.js", "node_modules/dashjs/LICENSE.md"],
  ["IBM Plex Sans", "node_modules/@fontsource-variable/ibm-plex-sans/LICENSE"],
];

const page = {
  name: "page",
  setup(builder) {
    builder.onEnd(async (result) => {
      if (result.errors.length > 0) return;
      const assets = {};
      for (const [path, output] of Object.entries(result.metafile.outputs)) {
        if (output.entryPoint === "src/main.js") assets["main.js"] = `assets/${basename(path)}`;
        if (output.entryPoint === "src/style.css") assets["style.css"] = `assets/${basename(path)}`;
      }
      let html = await readFile(join(root, "src/index.html"), "utf8");
      for (const [name, path] of Object.entries(assets)) html = html.replaceAll(`{{${name}}}`, path);
      await writeFile(join(dist, "index.html"), html);
      const texts = await Promise.all(licences.map(async ([name, path]) => `${name}\n\n${await readFile(join(root, path), "utf8")}`));
      await writeFile(join(dist, "licences.txt"), texts.join(`\n\n${"-".repeat(78)}\n\n`));
      await cp(join(root, "src/icon.svg"), join(dist, "icon.svg"));
    });
  },
};

const options = {
  absWorkingDir: root,
  entryPoints: ["src/main.js", "src/style.css"],
  outdir: "dist/assets",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  loader: { ".woff2": "file" },
  minify: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  plugins: [page],
};

await rm(dist, { recursive: true, force: true });
await mkdir(join(dist, "assets"), { recursive: true });
if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  const result = await build(options);
  for (const [path, output] of Object.entries(result.metafile.outputs)) {
    console.log(`${path.padEnd(52)} ${String(Math.ceil(output.bytes / 1024)).padStart(5)} KiB`);
  }
}
