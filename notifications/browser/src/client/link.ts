/** Connections over time: one at once, the next after a wait, until one side ends it. */
import { DEFAULT_RETRY, type RetryAdvice, backoffDelay } from "./backoff.ts";
import { CloseCode } from "./codes.ts";
import { Connection } from "./connection.ts";
import type { Down } from "./down.ts";
import type { Cancel, Environment } from "./environment.ts";
import { ConnectionError } from "./errors.ts";
import type { AuthFrame, AuthSuccess, ClientFrame, ServerFrame } from "./frames.ts";
import { StateMachine } from "./state.ts";
import type { DisconnectReason, NotificationClientConfig } from "./types.ts";

/** A connection that lived this long was a success: the count of failures begins anew. */
const STABLE = 5_000;
/** The longest wait that a server may ask for. */
const MAX_RETRY_AFTER = 3_600_000;

export interface LinkEvents {
  /** Make the first frame of a connection. `attempt`: the number of the retry, 0 at first. */
  hello(attempt: number, lastReason: DisconnectReason | undefined): Promise<AuthFrame>;
  accepted(frame: AuthSuccess): void;
  frame(frame: ServerFrame): void;
  unreadable(detail: string): void;
  unknown(type: string): void;
  /** The connection is gone. */
  lost(): void;
  /** No other will follow. */
  ended(error: ConnectionError): void;
}

interface Waiter {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: ConnectionError): void;
}

export class Link {
  readonly machine: StateMachine;
  readonly #environment: Environment;
  readonly #config: NotificationClientConfig;
  readonly #events: LinkEvents;
  #connection: Connection | undefined;
  #waiter: Waiter | undefined;
  #failures = 0;
  #advice: RetryAdvice = DEFAULT_RETRY;
  #lastReason: DisconnectReason | undefined;
  #connectedAt: { readonly date: Date; readonly elapsed: number } | undefined;
  #retry: Cancel | undefined;
  /** Whether the server named the time of the retry: then only the application hurries it. */
  #retryIsTold = false;
  #unwake: Cancel | undefined;

  constructor(environment: Environment, config: NotificationClientConfig, events: LinkEvents) {
    this.#environment = environment;
    this.#config = config;
    this.#events = events;
    this.machine = new StateMachine(environment.complain);
  }

  connect(): Promise<void> {
    const { status } = this.machine.state;
    if (status === "connected") return Promise.resolve();
    this.#waiter ??= newWaiter();
    const { promise } = this.#waiter;
    if (status === "disconnected") {
      this.#failures = 0;
      this.#unwake = this.#environment.onWake(() => {
        this.#wake();
      });
    }
    if (status !== "connecting") this.#try();
    return promise;
  }

  async disconnect(): Promise<void> {
    if (this.machine.state.status === "disconnected") return;
    const connection = this.#connection;
    const closing = connection?.close();
    this.#end(new ConnectionError("client_initiated", "The client was disconnected."));
    await closing;
  }

  send(frame: ClientFrame): void {
    this.#connection?.send(frame);
  }

  sendText(text: string): void {
    this.#connection?.sendText(text);
  }

  #try(): void {
    this.#retry?.();
    this.#retry = undefined;
    const connection: Connection = new Connection(
      this.#environment,
      { interval: this.#config.heartbeatInterval, timeout: this.#config.heartbeatTimeout },
      {
        accepted: (frame, latency) => {
          this.#accepted(connection, frame, latency);
        },
        frame: this.#events.frame,
        unreadable: this.#events.unreadable,
        unknown: this.#events.unknown,
        down: (down) => {
          this.#down(down);
        },
      },
    );
    this.#connection = connection;
    const startedAt = new Date(this.#environment.now());
    this.machine.move("try", { status: "connecting", attempt: this.#failures, startedAt });
    if (this.#connection !== connection) return; // a listener disconnected
    const hello = (): Promise<AuthFrame> => this.#events.hello(this.#failures, this.#lastReason);
    void connection.start(this.#config.url, hello);
  }

  #accepted(connection: Connection, frame: AuthSuccess, latency: number): void {
    this.#advice = frame.retry ?? DEFAULT_RETRY;
    const connectedAt = new Date(this.#environment.now());
    this.#connectedAt = { date: connectedAt, elapsed: this.#environment.elapsed() };
    const { serverId } = frame;
    this.machine.move("establish", { status: "connected", connectedAt, serverId, latency });
    if (this.#connection !== connection) return; // a listener disconnected
    this.#events.accepted(frame);
    this.#waiter?.resolve();
    this.#waiter = undefined;
  }

  #down({ error, retry, retryAfter }: Down): void {
    const wasConnected = this.machine.state.status === "connected";
    const livedSince = this.#connectedAt?.elapsed ?? 0;
    if (wasConnected && this.#environment.elapsed() - livedSince >= STABLE) this.#failures = 0;
    this.#failures += 1;
    this.#lastReason = error.reason;
    const { retryConfig } = this.#config;
    const policy: RetryAdvice = retryConfig
      ? { ...retryConfig, strategy: "exponential" }
      : this.#advice;
    const spent = policy.maxRetries > 0 && this.#failures > policy.maxRetries;
    if (!retry || spent || this.#tokenIsUsedUp(error)) {
      this.#end(error);
      return;
    }
    const delay =
      retryAfter === undefined
        ? backoffDelay(this.#failures - 1, policy, this.#environment.random())
        : Math.min(retryAfter, MAX_RETRY_AFTER);
    this.#retryIsTold = retryAfter !== undefined;
    this.#connection = undefined;
    this.#events.lost();
    this.#retry = this.#environment.after(delay, () => {
      this.#try();
    });
    this.machine.move("lose", {
      status: "reconnecting",
      attempt: this.#failures,
      lastError: error,
      nextRetryAt: new Date(this.#environment.now() + delay),
      backoffDelay: delay,
    });
  }

  /** The server wants another token, and a configured string is all there is. */
  #tokenIsUsedUp(error: ConnectionError): boolean {
    return error.closeCode === CloseCode.TOKEN_EXPIRED && typeof this.#config.auth === "string";
  }

  #end(error: ConnectionError): void {
    this.#retry?.();
    this.#unwake?.();
    this.#retry = this.#unwake = this.#connection = undefined;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    this.#lastReason = error.reason;
    this.#events.lost();
    this.#events.ended(error);
    const last = this.#connectedAt?.date;
    this.machine.move("end", {
      status: "disconnected",
      reason: error.reason,
      ...(last === undefined ? {} : { lastConnectedAt: last }),
    });
    waiter?.reject(error);
  }

  #wake(): void {
    const { status } = this.machine.state;
    if (status === "connected") this.#connection?.probe();
    else if (status === "reconnecting" && !this.#retryIsTold) this.#try();
  }
}

function newWaiter(): Waiter {
  let resolve!: () => void;
  let reject!: (error: ConnectionError) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
