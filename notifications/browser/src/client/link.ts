/** Connections over time: one at once, the next after a wait, until one side ends it. */
import { CloseCode } from "./codes.ts";
import { Connection, type Phase } from "./connection.ts";
import { type Down, overwhelmed } from "./down.ts";
import type { Cancel, Environment } from "./environment.ts";
import { ConnectionError } from "./errors.ts";
import type { AuthFrame, AuthSuccess, ClientFrame, RequestId, ServerFrame } from "./frames.ts";
import { RetryController } from "./retry.ts";
import { type StateEvent, StateMachine } from "./state.ts";
import type {
  Circuit,
  ConnectionState,
  DisconnectReason,
  NotificationClientConfig,
} from "./types.ts";

export interface LinkEvents {
  /** Make the first frame of a connection. `attempt`: the number of the retry, 0 at first. */
  hello(attempt: number, lastReason: DisconnectReason | undefined): Promise<AuthFrame>;
  accepted(frame: AuthSuccess): void;
  frame(frame: ServerFrame): void;
  unreadable(detail: string): void;
  /** A circuit breaker changed. */
  circuit(circuit: Circuit): void;
  /** The connection is gone. */
  lost(): void;
  /** No other will follow; it is not told yet. */
  ending(error: ConnectionError): void;
  /** The same, when the state says so: who hears of it may connect again. */
  ended(error: ConnectionError): void;
}

interface Waiter {
  resolve(): void;
  reject(error: ConnectionError): void;
}

export class Link {
  readonly machine: StateMachine;
  readonly retries: RetryController;
  readonly #environment: Environment;
  readonly #config: NotificationClientConfig;
  readonly #events: LinkEvents;
  #connection: Connection | undefined;
  /** Of `connect`, until it is answered. */
  #waiting: Promise<void> | undefined;
  #waiter: Waiter | undefined;
  #circuit: Circuit = "closed";
  #lastReason: DisconnectReason | undefined;
  #connectedAt: { readonly date: Date; readonly elapsed: number } | undefined;
  #retry: Cancel | undefined;
  /** Whether the time of the retry was told: then only the application hurries it. */
  #retryIsTold = false;
  /** Whether handlers have to catch up before the next attempt. */
  #isBlocked = false;
  #unwake: Cancel | undefined;

  constructor(environment: Environment, config: NotificationClientConfig, events: LinkEvents) {
    this.#environment = environment;
    this.#config = config;
    this.#events = events;
    this.machine = new StateMachine(environment.complain);
    this.retries = new RetryController(config.retryConfig, config.circuitBreaker);
  }

  connect(): Promise<void> {
    const { status } = this.machine.state;
    if (status === "connected") return Promise.resolve();
    this.#waiting ??= new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
    const waiting = this.#waiting;
    if (status === "disconnected") {
      this.retries.attempt = 0;
      this.#unwake = this.#environment.onWake(() => {
        this.#wake();
      });
    }
    if (status !== "connecting") this.#try();
    return waiting;
  }

  async disconnect(): Promise<void> {
    if (this.machine.state.status === "disconnected") return;
    const connection = this.#connection;
    const closing = connection?.close();
    this.#end(new ConnectionError("client_initiated", "The client was disconnected."));
    await closing;
  }

  /** No connection is to be had any more, whatever the present one says. */
  fail(down: Down): void {
    this.#connection?.abort(down);
  }

  /** Drop the connection while more waits than may (true); come back when it is less (false). */
  block(isBlocked: boolean): void {
    this.#isBlocked = isBlocked;
    if (isBlocked) this.drop();
    else if (this.machine.state.status === "reconnecting") this.#try();
  }

  /** Give the connection up, and try again: too much waits. */
  drop(): void {
    this.fail(overwhelmed());
  }

  send(frame: ClientFrame): void {
    this.#connection?.send(frame);
  }

  sendText(type: string, text: string, id: RequestId): void {
    this.#connection?.sendText(type, text, id);
  }

  #try(): void {
    if (this.#isBlocked && this.machine.state.status === "reconnecting") return;
    this.#retry?.();
    this.#retry = undefined;
    const events = this.#events;
    const connection: Connection = new Connection(this.#environment, this.#config, {
      frame: (frame) => {
        events.frame(frame);
      },
      unreadable: (detail) => {
        events.unreadable(detail);
      },
      opening: () => {
        this.retries.tokens.success();
        this.retries.connects.pass();
        this.tellCircuit();
      },
      accepted: (success, latency) => {
        this.#accepted(connection, success, latency);
      },
      down: (down, phase) => {
        this.#down(down, phase);
      },
    });
    this.#connection = connection;
    const { attempt } = this.retries;
    const startedAt = new Date(this.#environment.now());
    this.machine.move("try", { status: "connecting", attempt, startedAt });
    if (this.#connection !== connection) return; // a listener disconnected
    this.retries.tokens.pass();
    this.tellCircuit();
    void connection.start(this.#config.url, () => events.hello(attempt, this.#lastReason));
  }

  #accepted(connection: Connection, frame: AuthSuccess, latency: number): void {
    this.retries.push(frame.retry);
    this.retries.connects.success();
    const connectedAt = new Date(this.#environment.now());
    this.#connectedAt = { date: connectedAt, elapsed: this.#environment.elapsed() };
    const { serverId } = frame;
    this.#move("establish", { status: "connected", connectedAt, serverId, latency });
    if (this.#connection !== connection) return; // a listener disconnected
    this.#events.accepted(frame);
    if (this.#connection !== connection) this.#events.lost(); // what heard of it disconnected
    this.#waiter?.resolve();
    this.#waiting = this.#waiter = undefined;
    if (this.#isBlocked) this.drop();
  }

  #down(down: Down, phase: Phase): void {
    const { error } = down;
    const now = this.#environment.elapsed();
    const at = new Date(this.#environment.now());
    if (phase === "token") this.retries.tokens.failure(now);
    else if (phase === "connecting" && !down.own) this.retries.connects.failure(now);
    const lived = phase === "connected" ? now - (this.#connectedAt?.elapsed ?? now) : 0;
    this.retries.health = down.health ?? this.retries.health;
    this.#lastReason = error.reason;
    const plan = this.retries.failed(down, now, at, lived, this.#environment.random());
    if (!down.retry || plan === undefined || this.#tokenIsUsedUp(error)) {
      this.#end(error);
      return;
    }
    this.#connection = undefined;
    this.#events.lost();
    this.#retryIsTold = plan.told;
    this.#retry = this.#environment.after(plan.delay, () => {
      this.#try();
    });
    this.#move("lose", {
      status: "reconnecting",
      attempt: Math.max(1, this.retries.attempt),
      lastError: error,
      nextRetryAt: new Date(at.getTime() + plan.delay),
      backoffDelay: plan.delay,
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
    this.#waiting = this.#waiter = undefined;
    this.#lastReason = error.reason;
    this.#events.lost();
    this.#events.ending(error);
    const last = this.#connectedAt?.date;
    this.#move("end", {
      status: "disconnected",
      reason: error.reason,
      ...(last === undefined ? {} : { lastConnectedAt: last }),
    });
    waiter?.reject(error);
    this.#events.ended(error);
  }

  #move(event: StateEvent, state: ConnectionState): void {
    this.machine.move(event, state);
    this.tellCircuit();
  }

  /** Tell of a breaker that changed; after the transition that goes with it. */
  tellCircuit(): void {
    const { circuit } = this.retries;
    if (circuit === this.#circuit) return;
    this.#circuit = circuit;
    this.#events.circuit(circuit);
  }

  #wake(): void {
    const { status } = this.machine.state;
    if (status === "connected") this.#connection?.probe();
    else if (status === "reconnecting" && !this.#retryIsTold) this.#try();
  }
}
