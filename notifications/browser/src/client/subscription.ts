/** One subscription of the application, and the running of its handler. */
import { asError, type NotificationError } from "./errors.ts";
import type {
  MessageHandler,
  NotificationMessage,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";

export class LocalSubscription implements Subscription {
  readonly id: string;
  readonly topic: string;
  readonly createdAt: Date;
  readonly ready: Promise<void>;
  readonly options: SubscriptionOptions;
  readonly #handler: MessageHandler;
  readonly #leave: (id: string) => void;
  #phase: "asked" | "confirmed" | "ended" = "asked";
  #resolve!: () => void;
  #reject!: (error: NotificationError) => void;

  constructor(
    identity: { readonly id: string; readonly topic: string; readonly createdAt: Date },
    handler: MessageHandler,
    options: SubscriptionOptions,
    leave: (id: string) => void,
  ) {
    this.id = identity.id;
    this.topic = identity.topic;
    this.createdAt = identity.createdAt;
    this.options = options;
    this.#handler = handler;
    this.#leave = leave;
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not look at `ready` hears of a refusal through the event subscription_ended.
    this.ready.catch(() => undefined);
  }

  unsubscribe(): void {
    this.#leave(this.id);
  }

  isActive(): boolean {
    return this.#phase !== "ended";
  }

  confirm(): void {
    if (this.#phase !== "asked") return;
    this.#phase = "confirmed";
    this.#resolve();
  }

  /** End it, by the server's decision or (without error) the application's. */
  end(error?: NotificationError): void {
    const waited = this.#phase === "asked";
    this.#phase = "ended";
    if (!waited) return;
    if (error === undefined) this.#resolve();
    else this.#reject(error);
  }

  /**
   * Run the handler; a promise only when the handler gave one, and it never rejects.
   *
   * @param now milliseconds since the epoch, for `maxReplayAge`.
   */
  handle(
    message: NotificationMessage,
    now: number,
    onError: (error: Error, message: NotificationMessage) => void,
  ): Promise<void> | undefined {
    if (this.#phase !== "confirmed") return undefined;
    const { replayMissed, maxReplayAge, filter } = this.options;
    if (message.replayed === true) {
      if (replayMissed === false) return undefined;
      if (maxReplayAge !== undefined && now - message.timestamp.getTime() > maxReplayAge) {
        return undefined;
      }
    }
    const fail = (thrown: unknown): void => {
      this.#fail(asError(thrown), message, onError);
    };
    try {
      if (filter !== undefined && !filter(message)) return undefined;
      return this.#handler(message)?.then(undefined, fail);
    } catch (thrown) {
      fail(thrown);
      return undefined;
    }
  }

  #fail(
    error: Error,
    message: NotificationMessage,
    onError: (error: Error, message: NotificationMessage) => void,
  ): void {
    if (this.options.onError === undefined) {
      onError(error, message);
      return;
    }
    try {
      this.options.onError(error, message);
    } catch (worse) {
      onError(asError(worse), message);
    }
  }
}
