/** What the client takes from its surroundings, so that a test can give it something else. */

/** An open or opening WebSocket. */
export interface Socket {
  send(text: string): void;
  close(code?: number): void;
}

export interface SocketEvents {
  opened(): void;
  received(data: unknown): void;
  /** The last event, exactly once. */
  closed(code: number): void;
}

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
  /** Open a socket; its events come later, never during this call. */
  open(url: string, protocol: string, events: SocketEvents): Socket;
  /** Find the id by which the server knows this tab. */
  clientId(): Promise<string>;
  /** Call `run` when timers can not be trusted: the tab woke, or the network came back. */
  onWake(run: () => void): Cancel;
  debug(...details: unknown[]): void;
  /** Say aloud what would otherwise be lost. */
  complain(error: unknown): void;
}
