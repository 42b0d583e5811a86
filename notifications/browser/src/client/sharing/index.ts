/**
 * One socket per browser: tabs of one origin and user share the connection of one of them.
 *
 * What does it is a file of its own, which a page loads before its first connection: a page that
 * shares nothing, and Node, do without it.
 */
import type { Environment } from "../environment.ts";
import type { NotificationClientConfig } from "../types.ts";

/** Have sockets shared where the browser can, and the application's wishes allow it. */
export function sharing(environment: Environment, config: NotificationClientConfig): Environment {
  // Gathered messages are for one client: others would wait with it.
  const isWanted = config.shared !== false && config.batch === undefined;
  // Node has locks and channels too, by now; it has no tabs.
  const canShare =
    environment.kind === "browser" &&
    "locks" in navigator &&
    typeof BroadcastChannel !== "undefined";
  return isWanted && canShare ? openLater(environment, () => import("./sharing.ts")) : environment;
}

type Opener = Pick<Environment, "open" | "leave">;

/**
 * Open sockets with what is loaded before the first one.
 *
 * Where it can not be loaded, each socket is the client's own: the page's server has another version
 * by now, or the page's rules forbid it.
 */
export function openLater(
  environment: Environment,
  load: () => Promise<{ openerFor(environment: Environment): Opener }>,
): Environment {
  let opener: Opener = environment;
  let loading: Promise<void> | undefined;
  const prepare = (): Promise<void> =>
    (loading ??= load().then(
      ({ openerFor }) => {
        opener = openerFor(environment);
      },
      () => undefined,
    ));
  return {
    ...environment,
    prepare,
    open: (...line) => opener.open(...line),
    leave: () => opener.leave?.(),
  };
}
