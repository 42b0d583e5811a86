/**
 * Build the committed static files from src/.
 *
 * The output depends on the sources and on package-lock.json alone (no time, no path, no map), so
 * CI builds again and compares byte for byte.
 */
import { build } from "esbuild";
import { PARTS, apart } from "./apart.js";
import { short } from "./short-names.js";

await build({
  entryPoints: [
    { in: "src/client/index.ts", out: "client" },
    ...PARTS,
    { in: "src/dashboard/main.ts", out: "dashboard" },
    { in: "src/dashboard/styles/dashboard.css", out: "dashboard" },
  ],
  outdir: "../static/notifications",
  bundle: true,
  plugins: [apart],
  ...short,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome105", "firefox121", "safari16"],
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
