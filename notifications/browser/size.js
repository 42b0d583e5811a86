/** Print what the client costs a page, minified and gzipped; fail when it is over the bound. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MOST_BYTES = 15_000;

const { outputFiles } = await build({
  entryPoints: [join(import.meta.dirname, "dist/index.js")],
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  write: false,
});
const [file] = outputFiles;
const size = gzipSync(file.contents, { level: 9 }).length;
console.log(
  `@bellwether/client: ${file.contents.length} bytes minified, ${size} gzipped (at most ${MOST_BYTES})`,
);
if (size > MOST_BYTES) process.exitCode = 1;
