/** Keeps what has to survive a reload: who this client is, its session, its place, its topics. */
import { isClientId } from "./config.ts";
import type { Cursor } from "./cursor.ts";
import type { Cancel, Environment } from "./environment.ts";
import { asError } from "./errors.ts";
import type { Events } from "./events.ts";
import {
  type Wire,
  cursor,
  instant,
  listed,
  maybe,
  object,
  shape,
  text,
} from "./fields.ts";
import type { SubscribeOptions } from "./frames.ts";
import type { StateStorage } from "./storage.ts";
import type { Subscriptions } from "./subscriptions.ts";
import type { NotificationClientConfig } from "./types.ts";
import { within } from "./within.ts";

/** A cursor that moves is written at most so often; anything else at once. */
const EVERY = 250;
const VERSION = 1;
/** A storage that takes longer has failed. */
const TIMEOUT = 5_000;

/** A session, and where its handlers are. */
export interface Place {
  readonly sessionId: string;
  readonly cursor: Cursor;
}

export interface RememberedSubscription {
  readonly topic: string;
  readonly options: SubscribeOptions;
  readonly createdAt: Date;
  /** How far the replay with which it began had come, where that was not done. */
  readonly replayFrom?: Cursor;
}

export interface Remembered {
  readonly clientId: string;
  readonly place: Place | undefined;
  readonly subscriptions: readonly RememberedSubscription[];
}

export interface StateContext {
  readonly config: Pick<NotificationClientConfig, "clientId" | "storage" | "url">;
  readonly environment: Environment;
  readonly events: Events;
  readonly subscriptions: Pick<Subscriptions, "entries">;
  place(): Place | undefined;
}

export class StateManager {
  readonly #context: StateContext;
  #storage: StateStorage | undefined;
  #clientId: string | undefined;
  #timer: Cancel | undefined;
  /** The newest text that waits for the write before it. */
  #next: string | undefined;
  #isWriting = false;

  constructor(context: StateContext) {
    this.#context = context;
  }

  /** Find out who we are, and what we had. A state that is another running client's is not ours. */
  async load(): Promise<Remembered> {
    const { config, environment } = this.#context;
    const { clientId, storage = environment.storage() } = config;
    this.#storage = storage;
    const kept = await this.#read();
    // A configured id is the application's to keep apart.
    const isWanted = kept !== undefined && kept.clientId === (clientId ?? kept.clientId);
    if (isWanted && (clientId !== undefined || (await environment.claim(kept.clientId)))) {
      this.#clientId = kept.clientId;
      return kept;
    }
    const made = clientId ?? environment.newId();
    if (clientId === undefined) await environment.claim(made);
    this.#clientId = made;
    this.save();
    return { clientId: made, place: undefined, subscriptions: [] };
  }

  /** Write it now, unless it has not been read yet. */
  save(): void {
    this.#timer?.();
    this.#timer = undefined;
    if (this.#clientId === undefined) return;
    const subscriptions = this.#context.subscriptions.entries.confirmed().map(
      ({ topic, options, createdAt, replayFrom }) => ({ topic, options, createdAt, replayFrom }),
    );
    const state = {
      version: VERSION,
      clientId: this.#clientId,
      ...this.#context.place(),
      subscriptions,
    };
    this.#next = JSON.stringify(state);
    if (!this.#isWriting) void this.#write();
  }

  /** The cursor moved: write it soon. */
  moved(): void {
    if (this.#storage === undefined) return;
    this.#timer ??= this.#context.environment.after(EVERY, () => {
      this.save();
    });
  }

  /** One write at a time: of two at once, the older might end last. The first begins at once. */
  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#next !== undefined) {
      const text = this.#next;
      this.#next = undefined;
      await this.#try((storage) => storage.set(this.#key, text));
    }
    this.#isWriting = false;
  }

  get #key(): string {
    const { clientId, url } = this.#context.config;
    return `bellwether.${clientId ?? url}`;
  }

  async #read(): Promise<Remembered | undefined> {
    const kept = await this.#try((storage) => storage.get(this.#key));
    if (!kept) return undefined;
    try {
      return remembered(JSON.parse(kept) as Wire);
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #try<T>(use: (storage: StateStorage) => T | Promise<T>): Promise<T | undefined> {
    const storage = this.#storage;
    if (storage === undefined) return undefined;
    try {
      return await within(TIMEOUT, this.#context.environment, use(storage));
    } catch (error) {
      if (this.#storage === undefined) return undefined;
      this.#storage = undefined; // told once, and not used any more
      return this.#failed(error);
    }
  }

  #failed(error: unknown): undefined {
    this.#context.events.emit({ type: "storage_failed", error: asError(error) });
  }
}

const readState = shape({
  clientId: text,
  sessionId: maybe(text),
  cursor: maybe(cursor),
  subscriptions: listed(
    shape({ topic: text, options: object, createdAt: instant, replayFrom: maybe(cursor) }),
  ),
});

/** @throws when it is not one of ours. */
function remembered(wire: Wire): Remembered | undefined {
  const { sessionId, cursor, ...state } = readState(wire);
  if (wire["version"] !== VERSION || !isClientId(state.clientId)) return undefined;
  return { ...state, place: cursor && sessionId !== undefined ? { sessionId, cursor } : undefined };
}
