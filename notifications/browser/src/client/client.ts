/** The client: what the application asks of the parts. */
import { Core } from "./core.ts";
import type { Cursor } from "./cursor.ts";
import type { Environment } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import { askedFor } from "./owed.ts";
import { LocalSubscription } from "./subscription.ts";
import type {
  ClientEvent,
  ConnectionState,
  ConnectionStats,
  MessageHandler,
  NotificationClient,
  NotificationClientConfig,
  PublishOptions,
  PublishedMessage,
  ReplayOptions,
  ReplayResult,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";

/** Make a client in given surroundings; it does nothing until `connect`. */
export function createClient(
  config: NotificationClientConfig,
  environment: Environment,
): NotificationClient {
  return new Client(new Core(config, environment));
}

class Client implements NotificationClient {
  readonly #core: Core;
  #lastSubscription = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  connect(): Promise<void> {
    return this.#core.connect();
  }

  disconnect(): Promise<void> {
    return this.#core.disconnect();
  }

  subscribe<T = unknown>(
    topic: string,
    handler: MessageHandler<T>,
    options: SubscriptionOptions = {},
  ): Subscription {
    const { environment, subscriptions } = this.#core;
    this.#lastSubscription += 1;
    const id = `subscription-${this.#lastSubscription}`;
    const identity = { id, topic, createdAt: new Date(environment.now()) };
    // T is the application's claim about its payloads; the wire gives unknown.
    const claimed = handler as MessageHandler;
    const local = new LocalSubscription(identity, claimed, options, this.#core);
    subscriptions.add(local);
    return local;
  }

  unsubscribe(subscriptionId: string): void {
    this.#core.subscriptions.remove(subscriptionId);
  }

  getConnectionState(): ConnectionState {
    return this.#core.link.machine.state;
  }

  onStateChange(listener: (state: ConnectionState) => void): void {
    this.#core.link.machine.listen(listener);
  }

  onEvent(listener: (event: ClientEvent) => void): () => void {
    return this.#core.events.listen(listener);
  }

  getStats(): ConnectionStats {
    const { backlog, environment, link, outbox, statistics, subscriptions } = this.#core;
    return {
      ...statistics.read(link.machine.state, environment.now()),
      messagesSent: outbox.published,
      failures: [...link.retries.failures],
      circuit: link.retries.circuit,
      waiting: backlog.waiting + subscriptions.entries.waiting(),
    };
  }

  getCursor(): Cursor | undefined {
    return this.#core.progress.cursor();
  }

  publish(
    topic: string,
    payload: unknown,
    options: PublishOptions = {},
  ): Promise<PublishedMessage> {
    return this.#core.outbox.publish(topic, payload, options);
  }

  async replay(cursor: Cursor, options: ReplayOptions = {}): Promise<ReplayResult> {
    const { replays, subscriptions } = this.#core;
    const { subscription, maxReplayAge } = options;
    const local = subscription && subscriptions.locals.find(({ id }) => id === subscription.id);
    if (local !== undefined) await local.ready;
    const entry = local?.isActive() === true ? subscriptions.entries.get(local.topic) : undefined;
    if (subscription !== undefined && entry === undefined) {
      throw new NotificationError("ENDED", "This subscription has ended.");
    }
    const locals = local === undefined ? subscriptions.locals : [local];
    return new Promise((resolve, reject) => {
      replays.add(askedFor({ cursor, maxReplayAge, locals, entry, resolve, reject }));
    });
  }
}
