/** The parts of a client, put together: each takes what it needs of the others from here. */
import { Acknowledger } from "./acknowledger.ts";
import { check } from "./config.ts";
import { Backlog } from "./delivery.ts";
import type { Cancel, Environment } from "./environment.ts";
import { type ConnectionError, NotificationError } from "./errors.ts";
import { Events } from "./events.ts";
import type { AuthFrame, AuthSuccess, ServerFrame } from "./frames.ts";
import { Inbox } from "./inbox.ts";
import { Link } from "./link.ts";
import { Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { Refresher } from "./refresher.ts";
import { Replays } from "./replays.ts";
import { Requests } from "./requests.ts";
import { type Place, type Remembered, StateManager } from "./state-manager.ts";
import { Statistics } from "./statistics.ts";
import { Subscriptions } from "./subscriptions.ts";
import type { Circuit, DisconnectReason, NotificationClientConfig } from "./types.ts";
import { VERSION } from "./version.ts";

export class Core {
  readonly config: NotificationClientConfig;
  readonly environment: Environment;
  readonly backlog = new Backlog((isFull) => {
    this.link.block(isFull);
  });
  readonly events: Events;
  readonly inbox: Inbox;
  readonly link: Link;
  readonly outbox: Outbox;
  readonly progress = new Progress(() => {
    this.state.moved();
  });
  readonly refresher: Refresher;
  readonly replays: Replays;
  readonly requests = new Requests((frame) => {
    this.link.send(frame);
  });
  readonly state: StateManager;
  readonly statistics = new Statistics();
  readonly subscriptions: Subscriptions;
  readonly #acknowledger: Acknowledger | undefined;
  #loaded: Promise<Remembered> | undefined;
  #sessionId: string | undefined;
  /** Whether the present connection asked to resume a session. */
  #hadSession = false;
  #unhide: Cancel | undefined;

  constructor(config: NotificationClientConfig, surroundings: Environment) {
    check(config);
    const debug = config.debug === true ? surroundings.debug : (): void => undefined;
    this.config = config;
    this.environment = { ...surroundings, debug };
    this.events = new Events(surroundings.complain);
    this.state = new StateManager(this);
    this.link = new Link(this.environment, config, this);
    this.outbox = new Outbox(this);
    this.replays = new Replays(this);
    this.subscriptions = new Subscriptions(this);
    this.inbox = new Inbox(this);
    this.refresher = new Refresher(this);
    if (config.acknowledge === true) this.#acknowledger = new Acknowledger(this);
    this.link.machine.listen((state) => {
      // Before the application's listeners, which may look at the figures.
      if (state.status === "connected") {
        const { latency } = state;
        this.statistics.connected(latency, surroundings.now(), surroundings.elapsed());
      }
      debug(state.status, state);
    });
  }

  connect(): Promise<void> {
    this.#unhide ??= this.environment.onHide(() => {
      this.state.save();
    });
    return this.link.connect();
  }

  disconnect(): Promise<void> {
    this.#acknowledger?.finish();
    this.state.save();
    return this.link.disconnect();
  }

  place(): Place | undefined {
    const sessionId = this.#sessionId;
    const cursor = this.progress.cursor();
    return sessionId === undefined || cursor === undefined ? undefined : { sessionId, cursor };
  }

  // --- What the link tells ---------------------------------------------------------------------

  async hello(
    attempt: number,
    lastDisconnectReason: DisconnectReason | undefined,
  ): Promise<AuthFrame> {
    this.#loaded ??= this.#load();
    const { auth, batch, kind = this.environment.kind } = this.config;
    const token = typeof auth === "string" ? auth : await auth();
    if (this.environment.prepare !== undefined) await this.environment.prepare();
    const { clientId } = await this.#loaded;
    const resume = this.place();
    this.#hadSession = resume !== undefined;
    return {
      type: "auth",
      token,
      clientId,
      capabilities: ["batch"],
      client: { name: "@bellwether/client", version: VERSION, kind },
      resume,
      attempt: attempt || undefined,
      lastDisconnectReason,
      batch,
    };
  }

  accepted(frame: AuthSuccess): void {
    this.#sessionId = frame.sessionId;
    this.outbox.limit(frame.limits?.frameBytes);
    this.inbox.accepted(frame, this.#hadSession);
    this.#acknowledger?.start(this.#hadSession && frame.resumed ? undefined : frame.cursor);
    this.refresher.start(frame.expiresIn);
    this.state.save();
  }

  frame(frame: ServerFrame): void {
    this.inbox.take(frame);
  }

  unreadable(detail: string): void {
    this.events.emit({ type: "unreadable_frame", detail });
  }

  circuit(circuit: Circuit): void {
    this.environment.debug("circuit", circuit);
    this.events.emit({ type: "circuit", circuit });
  }

  lost(): void {
    this.#acknowledger?.stop();
    this.refresher.stop();
    this.outbox.suspend();
    this.replays.suspend();
    this.subscriptions.suspend();
    this.requests.lose();
    this.inbox.lost();
  }

  ending(error: ConnectionError): void {
    this.#unhide?.();
    this.#unhide = undefined;
    this.environment.leave?.();
    this.outbox.abandon(error);
    this.replays.abandon(error);
  }

  ended(error: ConnectionError): void {
    if (error.reason !== "client_initiated") {
      this.events.emit({ type: "connection_ended", error });
    }
  }

  // ---------------------------------------------------------------------------------------------

  /** All subscriptions are answered for: compare with the server, then let the publishes go. */
  restored(): void {
    const subscriptionIds = this.subscriptions.entries.heldIds();
    if (this.#hadSession && subscriptionIds.length > 0) {
      this.requests.ask({ type: "verify", subscriptionIds }, {
        ok: (frame) => {
          if (frame.type !== "verified") return;
          for (const { subscriptionId, code } of frame.inactive) {
            const error = new NotificationError(code, "The server ended it.");
            this.subscriptions.ended(subscriptionId, error);
          }
        },
        refused: (error) => {
          this.events.emit({ type: "server_error", error });
        },
      });
    }
    this.outbox.resume();
  }

  /** Take up where the page, or the process, was before. */
  async #load(): Promise<Remembered> {
    const remembered = await this.state.load();
    const { place, subscriptions } = remembered;
    if (place !== undefined) {
      this.#sessionId = place.sessionId;
      this.progress.reset(place.cursor);
    }
    for (const one of subscriptions) this.subscriptions.recall(one);
    return remembered;
  }
}
