/** The client: what the application asks, and what the server's frames mean for it. */
import { Acknowledger } from "./acknowledger.ts";
import type { Environment } from "./environment.ts";
import { Events } from "./events.ts";
import type { AuthFrame } from "./frames.ts";
import { Inbox } from "./inbox.ts";
import { Link } from "./link.ts";
import { DEFAULT_QUEUE, Outbox } from "./outbox.ts";
import { Requests } from "./requests.ts";
import { Statistics } from "./statistics.ts";
import { LocalSubscription } from "./subscription.ts";
import { Subscriptions } from "./subscriptions.ts";
import type {
  ClientEvent,
  ConnectionState,
  ConnectionStats,
  DisconnectReason,
  MessageHandler,
  NotificationClient,
  NotificationClientConfig,
  PublishOptions,
  PublishedMessage,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";
import { VERSION } from "./version.ts";

/** Make a client in given surroundings; it does nothing until `connect`. */
export function createClient(
  config: NotificationClientConfig,
  environment: Environment,
): NotificationClient {
  return new Client(config, environment);
}

class Client implements NotificationClient {
  readonly #acknowledger: Acknowledger | undefined;
  readonly #config: NotificationClientConfig;
  readonly #environment: Environment;
  readonly #events: Events;
  readonly #inbox: Inbox;
  readonly #link: Link;
  readonly #outbox: Outbox;
  readonly #requests = new Requests();
  readonly #statistics = new Statistics();
  readonly #subscriptions: Subscriptions;
  #clientId: Promise<string> | undefined;
  #sessionId: string | undefined;
  #lastSubscription = 0;

  constructor(config: NotificationClientConfig, environment: Environment) {
    this.#config = config;
    this.#environment = environment;
    this.#events = new Events(environment.complain);
    this.#link = new Link(environment, config, {
      hello: (attempt, lastReason) => this.#hello(attempt, lastReason),
      accepted: (frame) => {
        const hadSession = this.#sessionId !== undefined;
        this.#sessionId = frame.sessionId;
        this.#inbox.accepted(frame, hadSession);
        this.#acknowledger?.start(hadSession && frame.resumed ? undefined : frame.cursor);
        this.#outbox.resume(frame.frameBytes);
      },
      frame: (frame) => {
        this.#inbox.take(frame);
      },
      unreadable: (detail) => {
        this.#events.emit({ type: "unreadable_frame", detail });
      },
      unknown: (type) => {
        this.#debug("ignored a frame of type", type);
      },
      lost: () => {
        this.#acknowledger?.stop();
        this.#outbox.suspend();
        this.#subscriptions.suspend();
        this.#requests.lose();
        this.#inbox.lost();
      },
      ended: (error) => {
        this.#outbox.abandon(error);
        if (error.reason !== "client_initiated") {
          this.#events.emit({ type: "connection_ended", error });
        }
      },
    });
    const { after, now, newId } = environment;
    const requests = this.#requests;
    const sendText = (text: string): void => {
      this.#link.sendText(text);
    };
    this.#outbox = new Outbox(
      { requests, sendText, after, now, newId },
      { ...DEFAULT_QUEUE, ...config.queueConfig },
    );
    this.#subscriptions = new Subscriptions({
      requests,
      send: (frame) => {
        this.#link.send(frame);
      },
      after,
      ended: (subscription, error) => {
        this.#events.emit({ type: "subscription_ended", subscription, error });
      },
      orphan: ({ topic, createdAt }) => {
        this.#events.emit({ type: "orphan", topic, createdAt });
      },
      cutOff: (topic) => {
        const event = { type: "recovery", recovered: false, count: 0 } as const;
        this.#events.emit({ ...event, reason: "CONNECTION_LOST", topic });
      },
    });
    this.#inbox = new Inbox({
      events: this.#events,
      requests,
      statistics: this.#statistics,
      subscriptions: this.#subscriptions,
      now,
      elapsed: environment.elapsed,
      measured: (latency) => {
        this.#link.machine.measure(latency);
      },
      refresh: () => {
        void this.#refresh();
      },
    });
    this.#acknowledger = config.acknowledge
      ? new Acknowledger({
          send: (frame) => {
            this.#link.send(frame);
          },
          after,
          cursor: () => this.#inbox.progress.cursor(),
        })
      : undefined;
    this.#link.machine.listen((state) => {
      // Before the application's listeners, which may look at the figures.
      if (state.status === "connected") this.#statistics.connected(state.latency, now());
      this.#debug(state.status, state);
    });
  }

  connect(): Promise<void> {
    return this.#link.connect();
  }

  disconnect(): Promise<void> {
    this.#acknowledger?.finish();
    return this.#link.disconnect();
  }

  subscribe<T = unknown>(
    topic: string,
    handler: MessageHandler<T>,
    options: SubscriptionOptions = {},
  ): Subscription {
    this.#lastSubscription += 1;
    const local = new LocalSubscription(
      {
        id: `subscription-${this.#lastSubscription}`,
        topic,
        createdAt: new Date(this.#environment.now()),
      },
      // T is the application's claim about its payloads; the wire gives unknown.
      handler as MessageHandler,
      options,
      (id) => {
        this.#subscriptions.remove(id);
      },
    );
    this.#subscriptions.add(local);
    return local;
  }

  unsubscribe(subscriptionId: string): void {
    this.#subscriptions.remove(subscriptionId);
  }

  getConnectionState(): ConnectionState {
    return this.#link.machine.state;
  }

  onStateChange(listener: (state: ConnectionState) => void): void {
    this.#link.machine.listen(listener);
  }

  onEvent(listener: (event: ClientEvent) => void): void {
    this.#events.listen(listener);
  }

  getStats(): ConnectionStats {
    const now = this.#environment.now();
    return this.#statistics.read(this.#link.machine.state, this.#outbox.published, now);
  }

  publish(
    topic: string,
    payload: unknown,
    options: PublishOptions = {},
  ): Promise<PublishedMessage> {
    return this.#outbox.publish(topic, payload, options);
  }

  async #hello(attempt: number, lastReason: DisconnectReason | undefined): Promise<AuthFrame> {
    this.#clientId ??= this.#environment.clientId();
    const { auth } = this.#config;
    const token = typeof auth === "string" ? auth : await auth();
    const clientId = await this.#clientId;
    const cursor = this.#inbox.progress.cursor();
    return {
      type: "auth",
      token,
      clientId,
      capabilities: ["batch"],
      client: { name: "@bellwether/client", version: VERSION, kind: "browser" },
      ...(this.#sessionId !== undefined && cursor !== undefined
        ? { resume: { sessionId: this.#sessionId, cursor } }
        : {}),
      ...(attempt > 0 ? { attempt } : {}),
      ...(lastReason === undefined ? {} : { lastDisconnectReason: lastReason }),
    };
  }

  /** Give the server a fresh token, so that the connection outlives the old one. */
  async #refresh(): Promise<void> {
    const { auth } = this.#config;
    if (typeof auth === "string") return; // there is no other; the server closes at its expiry
    let token: string;
    try {
      token = await auth();
    } catch (error) {
      this.#debug("no fresh token", error); // the close at expiry leads to a new attempt
      return;
    }
    if (this.#link.machine.state.status !== "connected") return;
    const id = this.#requests.newId();
    this.#requests.expect(id, {
      ok: () => undefined,
      refused: (error) => {
        this.#events.emit({ type: "server_error", error });
      },
      lost: () => undefined,
    });
    this.#link.send({ type: "refresh", id, token });
  }

  #debug(...details: unknown[]): void {
    if (this.#config.debug === true) this.#environment.debug(...details);
  }
}
