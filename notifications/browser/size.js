/**
 * Print what the client costs a page, minified and gzipped; fail when it is over the bound.
 *
 * What tabs share a socket with is loaded apart, by pages that do.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { apart } from "./apart.js";

const BOUNDS = { index: 15_000, sharing: 6_000 };

for (const [name, most] of Object.entries(BOUNDS)) {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "dist", `${name}.js`)],
    bundle: true,
    plugins: [apart],
    external: ["./sharing.js"],
    minify: true,
    format: "esm",
    target: ["es2022"],
    charset: "utf8",
    write: false,
  });
  const [file] = outputFiles;
  const size = gzipSync(file.contents, { level: 9 }).length;
  console.log(
    `@bellwether/client ${name}.js: ${file.contents.length} bytes minified, ${size} gzipped (at most ${most})`,
  );
  if (size > most) process.exitCode = 1;
}
