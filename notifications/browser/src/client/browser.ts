/** The environment of a real page. Runs in Node 22 as well, which has no tabs. */
import type { Cancel, Environment } from "./environment.ts";
import { claimClientId } from "./identity.ts";

/** setTimeout takes a signed 32-bit number; a longer delay would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export const browser: Environment = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delay, run) {
    const timer = setTimeout(run, Math.min(delay, LONGEST_TIMER));
    return () => {
      clearTimeout(timer);
    };
  },
  random: () => Math.random(),
  newId,
  open(url, protocol, events) {
    const socket = new WebSocket(url, protocol);
    socket.onopen = events.opened;
    socket.onmessage = ({ data }) => {
      events.received(data);
    };
    socket.onclose = ({ code }) => {
      events.closed(code);
    };
    return socket;
  },
  clientId: () => claimClientId(sessionStore(), globalThis.navigator?.locks, newId),
  onWake(run) {
    if (typeof document === "undefined") return () => undefined;
    const visible = (): void => {
      if (document.visibilityState === "visible") run();
    };
    const cancels = [
      listen(document, "visibilitychange", visible),
      listen(window, "pageshow", visible),
      listen(window, "online", run),
    ];
    return () => {
      for (const cancel of cancels) cancel();
    };
  },
  debug: (...details) => {
    console.debug("bellwether:", ...details);
  },
  complain: (error) => {
    console.error("bellwether:", error);
  },
};

function listen(target: EventTarget, type: string, run: () => void): Cancel {
  target.addEventListener(type, run);
  return () => {
    target.removeEventListener(type, run);
  };
}

/** Not crypto.randomUUID: pages over plain HTTP do not have it. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function sessionStore(): Storage | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined; // the user forbids storage; reading the property alone throws then
  }
}
