/** A client, a fake server, and a clock between them. */
import { WebSocket } from "ws";
import { createClient } from "../../src/client/client.ts";
import type { Environment } from "../../src/client/environment.ts";
import type {
  ClientEvent,
  ConnectionState,
  NotificationClient,
  NotificationClientConfig,
} from "../../src/client/types.ts";
import { memoryStorage } from "../../src/client/storage.ts";
import { Clock } from "./clock.ts";
import { FakeServer, Inbound, type Peer } from "./fake-server.ts";

export class World {
  readonly clock = new Clock();
  readonly complaints: unknown[] = [];
  readonly debugged: unknown[][] = [];
  states = new Inbound<ConnectionState>();
  events: ClientEvent[] = [];
  /** Whether another page holds whatever id was used before. */
  isClaimed = false;
  readonly server: FakeServer;
  client!: NotificationClient;
  wake: () => void = () => undefined;
  hide: () => void = () => undefined;
  /** How many listen for the tab's waking. */
  wakeListeners = 0;
  #ids = 0;
  readonly #clients: NotificationClient[] = [];

  private constructor(server: FakeServer) {
    this.server = server;
  }

  static async open(config: Partial<NotificationClientConfig> = {}): Promise<World> {
    const world = new World(await FakeServer.start());
    world.replace(config);
    return world;
  }

  /** Another page in the place of the one before, whose client says nothing more to anybody. */
  replace(config: Partial<NotificationClientConfig>): void {
    this.events = [];
    this.states = new Inbound();
    const { events, states } = this;
    this.client = this.newClient(config);
    this.client.onStateChange((state) => {
      states.push(state);
    });
    this.client.onEvent((event) => {
      events.push(event);
    });
  }

  newClient(config: Partial<NotificationClientConfig> = {}): NotificationClient {
    const client = createClient(
      { url: this.server.url, auth: "token-1", ...config },
      this.environment,
    );
    this.#clients.push(client);
    return client;
  }

  get environment(): Environment {
    return {
      now: this.clock.now,
      elapsed: this.clock.now,
      after: this.clock.after,
      random: () => 0.5,
      newId: () => `id-${(this.#ids += 1)}`,
      kind: "browser",
      storage: memoryStorage,
      claim: () => {
        const isFree = !this.isClaimed;
        this.isClaimed = false;
        return Promise.resolve(isFree);
      },
      open: (url, protocol, events) => {
        const socket = new WebSocket(url, protocol);
        socket.on("open", events.opened);
        socket.on("message", (data: Buffer) => {
          events.received(data.toString("utf8"));
        });
        socket.on("close", (code: number) => {
          events.closed(code);
        });
        socket.on("error", () => undefined);
        return socket;
      },
      onHide: (run) => {
        this.hide = run;
        return () => undefined;
      },
      onWake: (run) => {
        this.wake = run;
        this.wakeListeners += 1;
        return () => {
          this.wakeListeners -= 1;
        };
      },
      debug: (...details) => {
        this.debugged.push(details);
      },
      complain: (error) => {
        this.complaints.push(error);
      },
    };
  }

  /** Connect, and let the server accept. */
  async connected(overrides: Record<string, unknown> = {}): Promise<Peer> {
    const done = this.client.connect();
    const peer = await this.server.peers.next();
    await peer.accept(overrides);
    await done;
    return peer;
  }

  /** Wait for the next state with this status. */
  async state<S extends ConnectionState["status"]>(
    status: S,
  ): Promise<Extract<ConnectionState, { status: S }>> {
    for (;;) {
      const state = await this.states.next();
      if (isStatus(state, status)) return state;
    }
  }

  /** Lose the line; wait until the client notices, then let its retry begin. */
  async reconnect(peer: Peer): Promise<Peer> {
    peer.cut();
    await this.retry();
    return this.server.peers.next();
  }

  async retry(): Promise<void> {
    const { backoffDelay } = await this.state("reconnecting");
    this.clock.advance(backoffDelay);
  }

  /** Wait until the client has handled all that the server sent. */
  async caughtUp(peer: Peer): Promise<void> {
    const barrier = `barrier-${(this.#ids += 1)}`;
    const seen = new Promise<void>((resolve) => {
      this.client.onEvent((event) => {
        if (event.type === "server_error" && event.error.code === barrier) resolve();
      });
    });
    peer.send({ type: "error", code: barrier, message: "", temporary: false });
    await seen;
    await settled();
  }

  /** The events so far, without the barriers. */
  heard(): ClientEvent[] {
    return this.events.filter(
      (event) => event.type !== "server_error" || !event.error.code.startsWith("barrier"),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.disconnect()));
    await this.server.stop();
  }
}

/** Let promises that are resolved already be noticed. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isStatus<S extends ConnectionState["status"]>(
  state: ConnectionState,
  status: S,
): state is Extract<ConnectionState, { status: S }> {
  return state.status === status;
}
