/** What the client takes from its surroundings, so that a test can give it something else. */
import type { StateStorage } from "./storage.ts";

/** An open or opening WebSocket. */
export interface Socket {
  send(text: string): void;
  close(code?: number): void;
}

export interface SocketEvents {
  opened(): void;
  received(data: unknown): void;
  /**
   * The last event, exactly once.
   *
   * @param refusal how the upgrade was answered, where that can be seen.
   * @param cause the platform's error, where it tells one.
   */
  closed(code: number, refusal?: Refusal, cause?: unknown): void;
}

/** An upgrade that was answered with an HTTP status. */
export interface Refusal {
  readonly status: number;
  /** Milliseconds. */
  readonly retryAfter: number | undefined;
}

/** What is used of a WebSocket. The browser's is one, and that of the package `ws`. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

/** Cancels what it came from. Calling it twice, or late, does nothing. */
export type Cancel = () => void;

export interface Environment {
  /** Milliseconds since the Unix epoch: for dates. */
  now(): number;
  /** Milliseconds on a clock that nobody sets: for durations. */
  elapsed(): number;
  after(delay: number, run: () => void): Cancel;
  /** In [0, 1). */
  random(): number;
  /** 128 random bits as text. */
  newId(): string;
  /** Wait for this before a socket is opened. */
  prepare?(): Promise<void>;
  /** No socket will be opened before the next `connect`. */
  leave?(): void;
  /** Open a socket; its events come later, never during this call. */
  open(url: string, protocol: string, events: SocketEvents): Socket;
  /** What this client is, where the application does not say. */
  readonly kind: "browser" | "service";
  /** Where the state is kept, where the application does not say. */
  storage(): StateStorage;
  /** Take a clientId for the life of this page; false when another page has it. */
  claim(clientId: string): Promise<boolean>;
  /** Call `run` when timers can not be trusted: the tab woke, or the network came back. */
  onWake(run: () => void): Cancel;
  /** Call `run` when the page may be gone soon, without another word. */
  onHide(run: () => void): Cancel;
  debug(...details: unknown[]): void;
  /** Say aloud what would otherwise be lost. */
  complain(error: unknown): void;
}
