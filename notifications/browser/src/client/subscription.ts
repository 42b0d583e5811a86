/** One subscription of the application, and the running of its handler. */
import { type Backlog, type Delivery, MAX_WAITING } from "./delivery.ts";
import type { Environment } from "./environment.ts";
import { asError, type NotificationError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { Owed } from "./replays.ts";
import type {
  MessageHandler,
  NotificationMessage,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";

interface Waiting {
  readonly delivery: Delivery;
  /** Whether the handler has had it otherwise. */
  readonly isHandled: boolean;
}

export interface LocalContext {
  readonly backlog: Backlog;
  readonly environment: Pick<Environment, "now">;
  readonly events: Events;
  readonly subscriptions: { remove(id: string): void };
}

/**
 * Handles its messages one after the other, in the order in which they came.
 *
 * While a replay is owed to it, other messages are held, and follow it. Bound of what waits: that
 * of the backlog. Bound of what is held: MAX_WAITING, over which the replay is given up.
 */
export class LocalSubscription implements Subscription {
  readonly id: string;
  readonly topic: string;
  readonly createdAt: Date;
  readonly ready: Promise<void>;
  readonly options: SubscriptionOptions;
  readonly #handler: MessageHandler;
  readonly #context: LocalContext;
  #phase: "asked" | "confirmed" | "ended" = "asked";
  #resolve!: () => void;
  #reject!: (error: NotificationError) => void;
  #queue: Waiting[] = [];
  #isRunning = false;
  readonly #owed = new Set<Owed>();
  #held: Delivery[] = [];

  constructor(
    identity: { readonly id: string; readonly topic: string; readonly createdAt: Date },
    handler: MessageHandler,
    options: SubscriptionOptions,
    context: LocalContext,
  ) {
    this.id = identity.id;
    this.topic = identity.topic;
    this.createdAt = identity.createdAt;
    this.options = options;
    this.#handler = handler;
    this.#context = context;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not look at `ready` hears of a refusal through the event subscription_ended.
    this.ready.catch(() => undefined);
  }

  /** How many messages wait until a replay that is owed has come. */
  get held(): number {
    return this.#held.length;
  }

  unsubscribe(): void {
    this.#context.subscriptions.remove(this.id);
  }

  isActive(): boolean {
    return this.#phase !== "ended";
  }

  confirm(): void {
    if (this.#phase !== "asked") return;
    this.#phase = "confirmed";
    this.#resolve();
  }

  /** End it, by the server's decision or (without error) the application's. Nothing more comes. */
  end(error?: NotificationError): void {
    const waited = this.#phase === "asked";
    this.#phase = "ended";
    const rest = [...this.#queue.map(({ delivery }) => delivery), ...this.#held];
    this.#context.backlog.add(-this.#queue.length);
    this.#queue = [];
    this.#held = [];
    for (const delivery of rest) delivery.settle();
    if (!waited) return;
    if (error === undefined) this.#resolve();
    else this.#reject(error);
  }

  /** Hold back whatever is not of this replay. */
  hold(owed: Owed): void {
    this.#owed.add(owed);
  }

  /** The replay is over: what it has not brought follows, unless another is owed. */
  release(owed: Owed): void {
    if (!this.#owed.delete(owed)) return;
    const held = this.#held;
    this.#held = [];
    for (const delivery of held) {
      const { position } = delivery.message;
      // It is not settled before what the replay brought in its place is handled.
      const isBrought = position !== undefined && owed.brought.covers(position);
      if (isBrought || this.#owed.size === 0) this.#enqueue(delivery, isBrought);
      else this.#held.push(delivery);
    }
  }

  /** @param asked whether it is of the replay that is owed. */
  deliver(delivery: Delivery, asked: boolean): void {
    if (this.#phase !== "confirmed" || (!asked && this.#isUnwanted(delivery.message))) return;
    delivery.take();
    if (this.#owed.size === 0 || asked) {
      this.#enqueue(delivery);
      return;
    }
    this.#held.push(delivery);
    if (this.#held.length > MAX_WAITING) for (const owed of [...this.#owed]) owed.giveUp();
  }

  #isUnwanted({ replayed, timestamp }: NotificationMessage): boolean {
    const { replayMissed, maxReplayAge = Infinity } = this.options;
    if (replayed !== true) return false;
    const age = this.#context.environment.now() - timestamp.getTime();
    return replayMissed === false || age > maxReplayAge;
  }

  #enqueue(delivery: Delivery, isHandled = false): void {
    this.#queue.push({ delivery, isHandled });
    this.#context.backlog.add(1);
    this.#next();
  }

  #next(): void {
    while (!this.#isRunning) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      const { delivery, isHandled } = next;
      this.#isRunning = true; // the handler may do what brings us here again
      this.#context.backlog.add(-1);
      const work = isHandled ? undefined : this.#handle(delivery.message);
      if (work === undefined) {
        this.#isRunning = false;
        delivery.settle();
        continue;
      }
      void work.then(() => {
        this.#isRunning = false;
        delivery.settle();
        this.#next();
      });
    }
  }

  /** Run the handler; a promise only when the handler gave one, and it never rejects. */
  #handle(message: NotificationMessage): Promise<void> | undefined {
    const fail = (thrown: unknown): void => {
      this.#fail(asError(thrown), message);
    };
    try {
      const { filter } = this.options;
      if (filter !== undefined && !filter(message)) return undefined;
      const work: unknown = this.#handler(message);
      return isPromise(work) ? work.then(() => undefined, fail) : undefined;
    } catch (thrown) {
      fail(thrown);
      return undefined;
    }
  }

  #fail(error: Error, message: NotificationMessage): void {
    const { onError } = this.options;
    try {
      if (onError === undefined) throw error;
      onError(error, message);
    } catch (worse) {
      this.#context.events.emit({ type: "handler_error", error: asError(worse), message });
    }
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as Promise<unknown> | undefined)?.then === "function";
}
