/**
 * One socket per browser: tabs of one origin and user share the connection of one of them.
 *
 * What does it is a file of its own, which a page loads with its first connection: a page that
 * shares nothing, and Node, do without it.
 */
import { CloseCode } from "../codes.ts";
import type { Environment, Socket } from "../environment.ts";
import type { NotificationClientConfig } from "../types.ts";

type Open = Environment["open"];

/** Have sockets shared where the browser can, and the application's wishes allow it. */
export function sharing(environment: Environment, config: NotificationClientConfig): Environment {
  // Gathered messages are for one client: others would wait with it.
  const isWanted = config.shared !== false && config.batch === undefined;
  const canShare =
    globalThis.navigator?.locks !== undefined && typeof BroadcastChannel !== "undefined";
  if (!isWanted || !canShare) return environment;
  return { ...environment, open: openLater(environment, () => import("./sharing.ts")) };
}

/**
 * Open sockets with what is loaded when the first one is wanted.
 *
 * Where it can not be loaded, each socket is the client's own: the page's server has another version
 * by now, or the page's rules forbid it.
 */
export function openLater(
  environment: Environment,
  load: () => Promise<{ openerFor(environment: Environment): Open }>,
): Open {
  let loaded: Open | undefined;
  let loading: Promise<unknown> | undefined;
  return (url, protocol, events) => {
    if (loaded !== undefined) return loaded(url, protocol, events);
    let socket: Socket | undefined;
    let isClosed = false;
    const close = (code?: number): void => {
      if (socket !== undefined) socket.close(code);
      else if (!isClosed) queueMicrotask(() => events.closed(code ?? CloseCode.ABNORMAL));
      isClosed = true;
    };
    loading ??= load().then(
      ({ openerFor }) => (loaded = openerFor(environment)),
      () => (loaded = environment.open),
    );
    void loading
      .then(() => {
        if (!isClosed) socket = loaded?.(url, protocol, events);
      })
      .catch(() => close()); // the next try, which opens at once, meets it again
    // Nothing is sent before `opened`, so nothing needs to wait here.
    return { send: (text) => socket?.send(text), close };
  };
}
