/**
 * Keeps a part of the client in a file of its own, under its own name: esbuild's splitting would
 * name files by their content, and each change would add one.
 */
export const PARTS = [{ in: "src/client/sharing/sharing.ts", out: "sharing" }];

/** An esbuild plugin: what is imported when it is needed stays so, as `./sharing.js`. */
export const apart = {
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /\/sharing\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./sharing.js", external: true } : undefined,
    );
  },
};
