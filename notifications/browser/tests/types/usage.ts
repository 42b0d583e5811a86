/** How an application is written: all of it compiles, and what is marked is refused. */
import {
  ConnectionError,
  createNotificationClient,
  NotificationError,
  type ConnectionState,
  type NotificationClient,
  type NotificationClientConfig,
  type NotificationMessage,
  type SubscriptionOptions,
} from "@bellwether/client";
import type * as Seed from "./seed.ts";

declare function fetchToken(): Promise<string>;
declare function show(text: string): void;

/** The configuration of the original design, with each of its fields. */
const complete: NotificationClientConfig = {
  url: "wss://example.org/ws",
  auth: async () => await fetchToken(),
  heartbeatInterval: 30_000,
  heartbeatTimeout: 5000,
  retryConfig: {
    maxRetries: 10,
    initialDelay: 1000,
    maxDelay: 30_000,
    backoffMultiplier: 2,
    jitter: true,
  },
  queueConfig: { maxSize: 1000, maxAge: 300_000, overflowStrategy: "drop-oldest" },
  debug: false,
};

interface Order {
  readonly id: number;
  readonly state: "paid" | "sent";
}

/** The client is one of the design, so code that was written to it takes it. */
export async function use(client: Seed.NotificationClient = createNotificationClient(complete)) {
  client.onStateChange((state) => {
    show(describe(state));
  });
  const subscription: Seed.Subscription = client.subscribe<Order>(
    "user.7.orders",
    async (message) => {
      show(message.payload.state satisfies "paid" | "sent");
      await Promise.resolve();
    },
    {
      filter: (message) => message.metadata?.priority !== "low",
      onError: (error, message) => {
        show(`${message.id}: ${error.message}`);
      },
      replayMissed: true,
      maxReplayAge: 60_000,
    },
  );
  await client.connect();
  if (subscription.isActive()) subscription.unsubscribe();
  client.unsubscribe(subscription.id);
  const { averageLatency, lastHeartbeat }: Seed.ConnectionStats = client.getStats();
  show(`${averageLatency.toFixed()} ms at ${lastHeartbeat.toISOString()}`);
  await client.disconnect();
}

/** Each state has its own fields, and there is no fifth. */
function describe(state: ConnectionState): string {
  switch (state.status) {
    case "disconnected":
      return state.reason ?? "never connected";
    case "connecting":
      return `try ${state.attempt}`;
    case "connected":
      return `${state.serverId}, ${state.latency} ms`;
    case "reconnecting":
      return `${state.lastError.message}, again at ${state.nextRetryAt.toISOString()}`;
    default:
      return state satisfies never;
  }
}

/** What was added. */
export async function useMore(client: NotificationClient): Promise<void> {
  const subscription = client.subscribe("user.7.*", (message) => {
    show(`${message.topic} ${message.seq ?? "ephemeral"} ${message.replayed === true}`);
  });
  try {
    await subscription.ready;
    const { id, duplicate } = await client.publish("user.7.orders", { id: 1 }, { priority: "high" });
    show(`${id} ${duplicate === true}`);
  } catch (error) {
    if (error instanceof NotificationError) show(`${error.code} ${error.retryAfter ?? 0}`);
    else if (error instanceof ConnectionError) show(`${error.reason} ${error.closeCode ?? 0}`);
  }
}

/** What a payload is nobody knows before it was looked at. */
export function read(message: NotificationMessage): string {
  // @ts-expect-error unknown is to be checked first
  const text: string = message.payload;
  return typeof message.payload === "string" ? message.payload : text;
}

export function mistakes(client: NotificationClient, state: ConnectionState): unknown[] {
  // @ts-expect-error there is no way without a token
  const withoutAuth: NotificationClientConfig = { url: "wss://example.org/ws" };
  // @ts-expect-error a strategy that does not exist
  complete.queueConfig = { maxSize: 1, maxAge: 1, overflowStrategy: "drop-some" };
  // @ts-expect-error an absent option is left out, not undefined
  const options: SubscriptionOptions = { maxReplayAge: undefined };
  // @ts-expect-error a misspelt option
  client.subscribe("user.7.*", () => undefined, { replaymissed: true });
  // @ts-expect-error a subscription needs a handler
  client.subscribe("user.7.*");
  // @ts-expect-error only a connected client has a latency
  const latency: number = state.latency;
  // @ts-expect-error the id of a subscription stays
  client.subscribe("a", () => undefined).id = "b";
  // @ts-expect-error a priority that does not exist
  const published = client.publish("a", 1, { priority: "higher" });
  return [withoutAuth, options, latency, published];
}
