/** A model of a tab's client: reads frames, keeps a cursor, comes back after a close. */
import type { Socket } from "../../../src/client/environment.ts";
import type { Page } from "./browser.ts";
import type { Frame, Offsets } from "./upstream.ts";

interface Cursor {
  readonly epoch: string;
  readonly offsets: Offsets;
}

/** What a client keeps over a reload. */
export interface Saved {
  readonly clientId: string;
  readonly sessionId: string | undefined;
  readonly cursor: Cursor | undefined;
  readonly topics: ReadonlyMap<string, string>;
  readonly wants: ReadonlySet<string>;
}

export class Reader {
  readonly frames: Frame[] = [];
  /** Ids of messages, by the topic of the subscription. */
  readonly got = new Map<string, string[]>();
  /** Where each subscription began. */
  readonly begins = new Map<string, Offsets>();
  readonly closes: number[] = [];
  /** How often the server knew nothing of the session. */
  lost = 0;
  isReady = false;
  clientId: string;
  /** Confirmed: by topic, the server's id. */
  topics = new Map<string, string>();
  /** Asked for, plainly: asked again until confirmed. */
  wants = new Set<string>();
  cursor: Cursor | undefined;
  sessionId: string | undefined;
  readonly #page: Page;
  readonly #token: string;
  #socket: Socket | undefined;
  #ids = 0;
  #asked = new Map<unknown, string>();
  /** Whether it comes back by itself. */
  returns = true;

  constructor(page: Page, token: string, clientId: string, saved?: Saved) {
    this.#page = page;
    this.#token = token;
    this.clientId = saved?.clientId ?? clientId;
    this.sessionId = saved?.sessionId;
    this.cursor = saved?.cursor;
    this.topics = new Map(saved?.topics);
    this.wants = new Set(saved?.wants);
  }

  get saved(): Saved {
    const { clientId, sessionId, cursor, topics, wants } = this;
    return { clientId, sessionId, cursor, topics: new Map(topics), wants: new Set(wants) };
  }

  connect(): void {
    this.isReady = false;
    const socket = this.#page.sharing.open("ws://server/ws", "v1", {
      opened: () => {
        const { sessionId, cursor } = this;
        const resume = sessionId !== undefined && cursor !== undefined ? { sessionId, cursor } : null;
        this.send({ type: "auth", token: this.#token, clientId: this.clientId, resume });
      },
      received: (data) => {
        if (this.#socket !== socket) return;
        const value = JSON.parse(String(data)) as Frame | Frame[];
        for (const frame of Array.isArray(value) ? value : [value]) this.#take(frame);
      },
      closed: (code) => {
        if (this.#socket !== socket) return;
        this.closes.push(code);
        this.#socket = undefined;
        this.isReady = false;
        if (this.returns) this.#page.environment.after(code === 1012 ? 0 : 1_000, () => this.connect());
      },
    });
    this.#socket = socket;
  }

  send(frame: Frame): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  request(frame: Frame): number {
    const id = (this.#ids += 1);
    this.send({ ...frame, id });
    return id;
  }

  subscribe(topic: string, options?: Frame): void {
    const id = this.request({ type: "subscribe", topic, ...(options && { options }) });
    this.#asked.set(id, topic);
  }

  /** Subscribe, however often the connection is lost before that is confirmed. */
  want(topic: string): void {
    if (this.wants.has(topic)) return;
    this.wants.add(topic);
    if (this.isReady) this.subscribe(topic);
  }

  /** Give up on the socket, as after a ping that was not answered. */
  giveUp(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.connect();
  }

  disconnect(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.isReady = false;
    socket?.close(1000);
    this.#page.sharing.leave();
  }

  #take(frame: Frame): void {
    this.frames.push(frame);
    switch (frame["type"]) {
      case "auth_success":
        this.#accepted(frame);
        break;
      case "subscribed": {
        this.#confirmed(frame, (frame["cursor"] as Cursor).offsets);
        break;
      }
      case "message":
        this.#message(frame);
        break;
      case "replay_complete":
      case "pong":
        this.#merge(frame["cursor"] as Cursor);
        if (frame["type"] === "replay_complete" && frame["id"] === undefined) this.#ready();
        break;
    }
  }

  #ready(): void {
    this.isReady = true;
    for (const topic of this.wants) if (!this.topics.has(topic)) this.subscribe(topic);
  }

  #confirmed(frame: Frame, begin: Offsets): void {
    const topic = String(frame["topic"]);
    this.topics.set(topic, String(frame["subscriptionId"]));
    if (!this.got.has(topic)) this.got.set(topic, []);
    if (!this.begins.has(topic)) this.begins.set(topic, begin);
  }

  #accepted(frame: Frame): void {
    const wasKnown = this.sessionId !== undefined;
    this.sessionId = String(frame["sessionId"]);
    if (frame["resumed"] === true) {
      // One whose `subscribed` was lost with the connection is listed all the same.
      const { offsets } = frame["cursor"] as Cursor;
      for (const held of frame["subscriptions"] as Frame[]) {
        this.#confirmed(held, later(offsets, (held["begin"] as Cursor).offsets));
      }
      return;
    }
    if (!wasKnown) this.#ready();
    this.isReady = true;
    if (!wasKnown || this.cursor === undefined) {
      this.cursor = frame["cursor"] as Cursor;
      return;
    }
    this.lost += 1;
    const held = frame["subscriptions"] as { topic: string; subscriptionId: string }[];
    const { cursor } = this;
    for (const topic of this.topics.keys()) {
      const subscriptionId = held.find((one) => one.topic === topic)?.subscriptionId;
      if (subscriptionId === undefined) this.subscribe(topic, { since: cursor });
      else this.request({ type: "replay", cursor, subscriptionId });
    }
  }

  #message({ id, topic, position }: Frame): void {
    const [partition, offset] = position as [number, number];
    for (const [wish, got] of this.got) {
      if (wish === topic || (wish.endsWith("*") && String(topic).startsWith(wish.slice(0, -1)))) {
        got.push(String(id));
      }
    }
    this.#merge({ epoch: this.cursor?.epoch ?? "", offsets: { [String(partition)]: offset } });
  }

  #merge({ epoch, offsets }: Cursor): void {
    this.cursor = { epoch, offsets: later(this.cursor?.offsets ?? {}, offsets) };
  }
}

function later(one: Offsets, other: Offsets): Offsets {
  const both = { ...one };
  for (const [key, offset] of Object.entries(other)) both[key] = Math.max(offset, both[key] ?? 0);
  return both;
}
