/** The client: what the application asks of the parts. */
import { Core } from "./core.ts";
import type { Environment } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import { askedFor } from "./owed.ts";
import { LocalSubscription } from "./subscription.ts";
import type {
  MessageHandler,
  NotificationClient,
  NotificationClientConfig,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";

/** Make a client in given surroundings; it does nothing until `connect`. */
export function createClient(
  config: NotificationClientConfig,
  environment: Environment,
): NotificationClient {
  const core = new Core(config, environment);
  const { backlog, events, link, outbox, progress, replays, statistics, subscriptions } = core;
  let lastSubscription = 0;
  return {
    connect: () => core.connect(),
    disconnect: () => core.disconnect(),
    subscribe<T>(
      topic: string,
      handler: MessageHandler<T>,
      options: SubscriptionOptions = {},
    ): Subscription {
      lastSubscription += 1;
      const id = `subscription-${lastSubscription}`;
      const identity = { id, topic, createdAt: new Date(environment.now()) };
      // T is the application's claim about its payloads; the wire gives unknown.
      const claimed = handler as MessageHandler;
      const local = new LocalSubscription(identity, claimed, options, core);
      subscriptions.add(local);
      return local;
    },
    unsubscribe: (id) => {
      subscriptions.remove(id);
    },
    getConnectionState: () => link.machine.state,
    onStateChange: (listener) => link.machine.listen(listener),
    onEvent: (listener) => events.listen(listener),
    getStats: () => ({
      ...statistics.read(link.machine.state, environment.elapsed()),
      messagesSent: outbox.published,
      failures: [...link.retries.failures],
      circuit: link.retries.circuit,
      waiting: backlog.waiting + subscriptions.entries.waiting(),
    }),
    getCursor: () => progress.cursor(),
    publish: (topic, payload, options = {}) => outbox.publish(topic, payload, options),
    async replay(cursor, { subscription, maxReplayAge } = {}) {
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
    },
  };
}
