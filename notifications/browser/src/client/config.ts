/** What an application may configure. Durations are milliseconds. */
import type { RetryStrategy } from "./backoff.ts";
import type { WebSocketConstructor } from "./environment.ts";
import type { StateStorage } from "./storage.ts";
import type { BatchOptions } from "./types.ts";

export interface NotificationClientConfig {
  /** `wss://host/ws`. A token does not belong into it. */
  url: string;
  /**
   * A token, or a function that fetches a fresh one, called before each connection and refresh.
   * When it throws a NotificationError that is not temporary, the client stops.
   */
  auth: string | (() => Promise<string>);
  /** At most this long between pings; the server's figure when it is shorter or this is absent. */
  heartbeatInterval?: number;
  /** Silence after a ping that counts as death; the server's figure when absent. */
  heartbeatTimeout?: number;
  /** The policy that the server pushed when absent. */
  retryConfig?: RetryConfig;
  queueConfig?: QueueConfig;
  circuitBreaker?: Partial<CircuitBreakerConfig>;
  /** Names this running client to the server; made, and kept in the storage, when absent. */
  clientId?: string;
  /** The server has a retry policy for each; `service` outside of browsers when absent. */
  kind?: "browser" | "mobile" | "service";
  /** Where the state is kept over a reload; this tab's sessionStorage (else memory) when absent. */
  storage?: StateStorage;
  /** Tell the server every few seconds, and at `disconnect`, how far the handlers have come. */
  acknowledge?: boolean;
  /** Lets the server gather messages for this client. */
  batch?: BatchOptions;
  /** Opens the sockets, such as that of the package `ws`; the global one when absent. */
  webSocket?: WebSocketConstructor;
  /**
   * False: a socket of its own for this client. Otherwise tabs of one origin and user share one,
   * where the browser can (Web Locks, BroadcastChannel) and neither `webSocket` nor `batch` is given.
   */
  shared?: boolean;
  /** Write transitions, retries and frame types to the console; never a token or a payload. */
  debug?: boolean;
}

export interface RetryConfig {
  /** 0 is without end. */
  maxRetries: number;
  /** Before the first retry, in milliseconds. */
  initialDelay: number;
  maxDelay: number;
  backoffMultiplier: number;
  jitter: boolean;
  /** `exponential` when absent. */
  strategy?: RetryStrategy;
}

export interface CircuitBreakerConfig {
  /** Failures in a row that open it. */
  failureThreshold: number;
  /** Milliseconds for which nothing is attempted then. */
  resetTimeout: number;
}

/** Bound, age and policy of the publishes that wait for a connection. */
export interface QueueConfig {
  maxSize: number;
  maxAge: number;
  /** What is dropped rejects with `DROPPED`; with `reject`, `publish` throws `QUEUE_FULL`. */
  overflowStrategy: "drop-oldest" | "drop-newest" | "reject";
}

/** Whether a text may name a client to the server. */
export function isClientId(text: unknown): boolean {
  return /^[\w-]{1,128}$/.test(String(text));
}

/** @throws {TypeError} that names the option which can not be meant. */
export function check(config: NotificationClientConfig): void {
  const { url, auth, kind = "browser", clientId = "-" } = config;
  const { heartbeatInterval = 1, heartbeatTimeout = 1 } = config;
  const { maxSize = 1, maxDelay = 0 } = config.batch ?? {};
  must("url", url !== "" && typeof url === "string");
  must("auth", auth !== "" && (typeof auth === "string" || typeof auth === "function"));
  must("clientId", isClientId(clientId));
  must("kind", ["browser", "mobile", "service"].includes(kind));
  must("heartbeatInterval", heartbeatInterval > 0);
  must("heartbeatTimeout", heartbeatTimeout > 0);
  must("batch", maxSize >= 1 && maxSize <= 100 && maxDelay >= 0 && maxDelay <= 10_000);
}

function must(option: string, isMeant: boolean): void {
  if (!isMeant) throw new TypeError(`\`${option}\` is wrong.`);
}
