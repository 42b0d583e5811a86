/** The parts of a client, put together. */
import { Acknowledger } from "./acknowledger.ts";
import { Backlog } from "./delivery.ts";
import type { Cancel, Environment } from "./environment.ts";
import { type ConnectionError, NotificationError } from "./errors.ts";
import { Events } from "./events.ts";
import type { AuthFrame, AuthSuccess, ClientFrame } from "./frames.ts";
import { Inbox } from "./inbox.ts";
import { Link } from "./link.ts";
import { DEFAULT_QUEUE, Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { Refresher } from "./refresher.ts";
import { Replays } from "./replays.ts";
import { Requests } from "./requests.ts";
import { type Place, type Remembered, StateManager } from "./state-manager.ts";
import { Statistics } from "./statistics.ts";
import { Subscriptions } from "./subscriptions.ts";
import type { DisconnectReason, NotificationClientConfig } from "./types.ts";
import { VERSION } from "./version.ts";

export class Core {
  readonly environment: Environment;
  readonly backlog: Backlog;
  readonly events: Events;
  readonly link: Link;
  readonly outbox: Outbox;
  readonly progress: Progress;
  readonly replays: Replays;
  readonly statistics = new Statistics();
  readonly subscriptions: Subscriptions;
  readonly #acknowledger: Acknowledger | undefined;
  readonly #config: NotificationClientConfig;
  readonly #inbox: Inbox;
  readonly #refresher: Refresher;
  readonly #requests = new Requests();
  readonly #state: StateManager;
  #loaded: Promise<Remembered> | undefined;
  #sessionId: string | undefined;
  #hasSession = false;
  #unhide: Cancel | undefined;

  constructor(config: NotificationClientConfig, surroundings: Environment) {
    const debug = config.debug === true ? surroundings.debug : (): void => undefined;
    const environment = { ...surroundings, debug };
    const { after, now, newId, elapsed, random } = environment;
    const requests = this.#requests;
    const send = (frame: ClientFrame): void => {
      this.link.send(frame);
    };
    this.#config = config;
    this.environment = environment;
    this.events = new Events(environment.complain);
    this.backlog = new Backlog((isFull) => {
      this.link.block(isFull);
    });
    this.progress = new Progress(() => {
      this.#state.moved();
    });
    this.#state = new StateManager({
      environment,
      storage: config.storage ?? environment.storage(),
      key: `bellwether.${config.clientId ?? config.url}`,
      clientId: config.clientId,
      place: () => this.#place(),
      subscriptions: () => this.subscriptions.confirmed,
      failed: (error) => {
        this.events.emit({ type: "storage_failed", error });
      },
    });
    this.link = new Link(environment, config, {
      hello: (attempt, lastReason) => this.#hello(attempt, lastReason),
      accepted: (frame) => {
        this.#accepted(frame);
      },
      frame: (frame) => {
        this.#inbox.take(frame);
      },
      unreadable: (detail) => {
        this.events.emit({ type: "unreadable_frame", detail });
      },
      unknown: (type) => {
        debug("ignored a frame of type", type);
      },
      circuit: (circuit) => {
        debug("circuit breaker", circuit);
        this.events.emit({ type: "circuit", circuit });
      },
      lost: () => {
        this.#lost();
      },
      ended: (error) => {
        this.#ended(error);
      },
    });
    this.outbox = new Outbox(
      {
        requests,
        sendText: (type, text, id) => {
          this.link.sendText(type, text, id);
        },
        after,
        now,
        newId,
      },
      { ...DEFAULT_QUEUE, ...config.queueConfig },
    );
    this.replays = new Replays({ requests, send, after });
    this.subscriptions = new Subscriptions({
      requests,
      replays: this.replays,
      send,
      after,
      base: () => this.#inbox.base,
      emit: (event) => {
        this.events.emit(event);
      },
      replayed: (topic, frame) => {
        this.#inbox.replayed(frame, topic);
      },
      changed: () => {
        this.#state.save();
      },
      restored: () => {
        this.#restored();
      },
    });
    this.#inbox = new Inbox({
      events: this.events,
      progress: this.progress,
      replays: this.replays,
      requests,
      statistics: this.statistics,
      subscriptions: this.subscriptions,
      now,
      elapsed,
      measured: (latency) => {
        this.link.machine.measure(latency);
      },
      refresh: () => {
        void this.#refresher.refresh();
      },
      overwhelmed: () => {
        this.link.drop();
      },
    });
    const { auth } = config;
    this.#refresher = new Refresher({
      requests,
      retries: this.link.retries,
      auth: typeof auth === "string" ? undefined : auth,
      send,
      after,
      elapsed,
      random,
      tried: () => {
        this.link.tellCircuit();
      },
      ended: (error) => {
        this.link.fail(error);
      },
      refused: (error) => {
        this.events.emit({ type: "server_error", error });
      },
    });
    this.#acknowledger = config.acknowledge
      ? new Acknowledger({
          send: (frame) => {
            this.#inbox.base = frame.cursor;
            send(frame);
          },
          after,
          cursor: () => this.progress.cursor(),
        })
      : undefined;
    this.link.machine.listen((state) => {
      // Before the application's listeners, which may look at the figures.
      if (state.status === "connected") this.statistics.connected(state.latency, now());
      debug(state.status, state);
    });
  }

  connect(): Promise<void> {
    this.#unhide ??= this.environment.onHide(() => {
      this.#state.save();
    });
    return this.link.connect();
  }

  disconnect(): Promise<void> {
    this.#acknowledger?.finish();
    this.#state.save();
    return this.link.disconnect();
  }

  async #hello(attempt: number, lastReason: DisconnectReason | undefined): Promise<AuthFrame> {
    this.#loaded ??= this.#load();
    const { auth, batch, kind = this.environment.kind } = this.#config;
    const token = typeof auth === "string" ? auth : await auth();
    const { clientId } = await this.#loaded;
    const resume = this.#place();
    this.#hasSession = resume !== undefined;
    return {
      type: "auth",
      token,
      clientId,
      capabilities: ["batch"],
      client: { name: "@bellwether/client", version: VERSION, kind },
      ...(resume === undefined ? {} : { resume }),
      ...(attempt > 0 ? { attempt } : {}),
      ...(lastReason === undefined ? {} : { lastDisconnectReason: lastReason }),
      ...(batch === undefined ? {} : { batch }),
    };
  }

  /** Take up where the page, or the process, was before. */
  async #load(): Promise<Remembered> {
    const remembered = await this.#state.load();
    const { place, subscriptions } = remembered;
    if (place !== undefined) {
      this.#sessionId = place.sessionId;
      this.progress.reset(place.cursor);
    }
    for (const { topic, options, createdAt } of subscriptions) {
      this.subscriptions.recall(topic, options, createdAt);
    }
    return remembered;
  }

  #place(): Place | undefined {
    const sessionId = this.#sessionId;
    const cursor = this.progress.cursor();
    return sessionId === undefined || cursor === undefined ? undefined : { sessionId, cursor };
  }

  #accepted(frame: AuthSuccess): void {
    this.#sessionId = frame.sessionId;
    this.outbox.limit(frame.limits?.frameBytes);
    this.#inbox.accepted(frame, this.#hasSession);
    this.#acknowledger?.start(this.#hasSession && frame.resumed ? undefined : frame.cursor);
    this.#refresher.start(frame.expiresIn);
    this.#state.save();
  }

  /** All subscriptions are answered for: compare with the server, then let the publishes go. */
  #restored(): void {
    const subscriptionIds = this.subscriptions.heldIds;
    if (this.#hasSession && subscriptionIds.length > 0) {
      const id = this.#requests.newId();
      this.#requests.expect(id, {
        ok: (frame) => {
          if (frame.type !== "verified") return;
          for (const { subscriptionId, code } of frame.inactive) {
            const error = new NotificationError(code, "The server does not have it any more.");
            this.subscriptions.ended(subscriptionId, error);
          }
        },
        refused: (error) => {
          this.events.emit({ type: "server_error", error });
        },
        lost: () => undefined,
      });
      this.link.send({ type: "verify", id, subscriptionIds });
    }
    this.outbox.resume();
  }

  #lost(): void {
    this.#acknowledger?.stop();
    this.#refresher.stop();
    this.outbox.suspend();
    this.replays.suspend();
    this.subscriptions.suspend();
    this.#requests.lose();
    this.#inbox.lost();
  }

  #ended(error: ConnectionError): void {
    this.#unhide?.();
    this.#unhide = undefined;
    this.outbox.abandon(error);
    this.replays.abandon(error);
    if (error.reason !== "client_initiated") {
      this.events.emit({ type: "connection_ended", error });
    }
  }
}
