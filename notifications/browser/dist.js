/**
 * Build what the npm package holds: dist/index.js and the declarations that it needs.
 *
 * The code is readable but for short-names.js, and has no map: a map would name files that are not
 * in the package.
 * Declarations are those of the compiler, as far as index.d.ts leads to them.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { PARTS, apart } from "./apart.js";
import { short } from "./short-names.js";

const ROOT = import.meta.dirname;
const DIST = join(ROOT, "dist");
const ALL = join(DIST, "all"); // outDir of tsconfig.dist.json

/** A relative specifier in a declaration: `from "./types.ts"` or `import("./types.ts")`. */
const SPECIFIER = /(?<=(?:from |import\()")(\.{1,2}\/[^"]+)\.ts(?=")/g;

/** Copy a declaration and those it imports; specifiers get the extension that Node needs. */
function copyDeclarations(name, copied = new Set()) {
  if (copied.has(name)) return;
  copied.add(name);
  const text = readFileSync(join(ALL, `${name}.d.ts`), "utf8");
  const target = join(DIST, `${name}.d.ts`);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text.replace(SPECIFIER, "$1.js"));
  for (const [, path] of text.matchAll(SPECIFIER)) {
    copyDeclarations(join(dirname(name), path), copied);
  }
}

rmSync(DIST, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  entryPoints: [{ in: "src/client/index.ts", out: "index" }, ...PARTS],
  outdir: "dist",
  bundle: true,
  plugins: [apart],
  ...short,
  minifySyntax: true,
  format: "esm",
  platform: "neutral",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
execFileSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.dist.json"], {
  cwd: ROOT,
  stdio: "inherit",
});
copyDeclarations("index");
rmSync(ALL, { recursive: true });
copyFileSync(join(ROOT, "../../LICENSE"), join(ROOT, "LICENSE"));
