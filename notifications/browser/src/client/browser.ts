/** The environment of a real page. Runs in Node as well, which has no tabs. */
import { CloseCode } from "./codes.ts";
import type {
  Cancel,
  Environment,
  Refusal,
  SocketEvents,
  WebSocketConstructor,
} from "./environment.ts";
import { claimClientId } from "./identity.ts";
import { memoryStorage, webStorage } from "./storage.ts";

/** setTimeout takes a signed 32-bit number; a longer delay would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

const hasPage = typeof document !== "undefined";

export const browser: Environment = {
  kind: hasPage ? "browser" : "service",
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
  open: (url, protocol, events) => openSocket(globalThis.WebSocket, url, protocol, events),
  storage() {
    try {
      if (hasPage) return webStorage(sessionStorage);
    } catch {
      // The user forbids storage: reading the property alone throws then.
    }
    return memoryStorage();
  },
  claim: (id) => claimClientId(hasPage ? navigator.locks : undefined, id),
  onWake: (run) =>
    listen([
      ["visibilitychange", () => document.visibilityState === "visible" && run()],
      ["pageshow", run],
      ["online", run],
    ]),
  onHide: (run) =>
    listen([
      ["visibilitychange", () => document.visibilityState === "hidden" && run()],
      ["pagehide", run],
    ]),
  debug: (...details) => {
    console.debug("bellwether:", ...details);
  },
  complain: (error) => {
    console.error("bellwether:", error);
  },
};

/** Open a socket with a given constructor. */
export function openSocket(
  Constructor: WebSocketConstructor | undefined,
  url: string,
  protocol: string,
  events: SocketEvents,
): ReturnType<Environment["open"]> {
  if (Constructor === undefined) {
    throw new Error("Give a `webSocket`, such as that of the package ws.");
  }
  const socket = new Constructor(url, protocol);
  let refusal: Refusal | undefined;
  let isOpen = false;
  let isOver = false;
  const end = (code: number, cause?: unknown): void => {
    if (!isOver) events.closed(code, refusal, cause);
    isOver = true;
  };
  socket.onopen = () => {
    isOpen = true;
    events.opened();
  };
  socket.onmessage = ({ data }: { data: unknown }) => {
    events.received(data);
  };
  socket.onclose = ({ code }: { code: number }) => {
    end(code);
  };
  // Browsers hide the error. After one that comes before the opening, Node 22 tells of no close.
  socket.onerror = ({ error }: { error?: unknown }) => {
    if (!isOpen) end(CloseCode.ABNORMAL, error);
  };
  // Browsers hide why an upgrade was refused; `ws` tells.
  (socket as { on?: OnRefused }).on?.("unexpected-response", (_request, { headers, statusCode }) => {
    const seconds = Number(headers["retry-after"]);
    refusal = { status: statusCode, retryAfter: seconds >= 0 ? seconds * 1_000 : undefined };
    socket.close();
  });
  return socket;
}

type OnRefused = (
  event: "unexpected-response",
  run: (request: unknown, response: { headers: Record<string, unknown>; statusCode: number }) => void,
) => void;

/** Listen to the page, where there is one. Events of the document bubble up to the window. */
function listen(runs: [type: string, run: () => void][]): Cancel {
  if (!hasPage) return () => undefined;
  for (const [type, run] of runs) window.addEventListener(type, run);
  return () => {
    for (const [type, run] of runs) window.removeEventListener(type, run);
  };
}

/** Not crypto.randomUUID: pages over plain HTTP do not have it. */
function newId(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
