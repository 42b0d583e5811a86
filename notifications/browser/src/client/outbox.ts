/** Publishes on their way: waiting for a connection, or sent and not yet answered. */
import type { Cancel } from "./environment.ts";
import { ConnectionError, NotificationError } from "./errors.ts";
import type { Published } from "./frames.ts";
import type { Requests } from "./requests.ts";
import type { MessageMetadata, PublishOptions, PublishedMessage, QueueConfig } from "./types.ts";
import { topicProblem } from "./topics.ts";

export const DEFAULT_QUEUE: QueueConfig = {
  maxSize: 1_000,
  maxAge: 300_000,
  overflowStrategy: "drop-oldest",
};

/** Sent and unanswered at once: enough to fill a round trip, few enough to stop when refused. */
const WINDOW = 32;
/** Wait after a temporary refusal that names no time. */
const PAUSE = 1_000;
const DEFAULT_FRAME_BYTES = 65_536;

export interface OutboxContext {
  readonly requests: Requests;
  sendText(text: string): void;
  after(delay: number, run: () => void): Cancel;
  now(): number;
  newId(): string;
}

interface Parcel {
  readonly id: number;
  /** The frame: encoded once, so a payload that changes later does not change it. */
  readonly text: string;
  readonly queuedAt: number;
  resolve(message: PublishedMessage): void;
  reject(error: Error): void;
}

/**
 * Bound: `maxSize` waiting and WINDOW sent. Policy: `overflowStrategy`, and `maxAge` for those
 * that wait. Order: first in, first out; a lost connection puts the unanswered ones back in front.
 */
export class Outbox {
  readonly #context: OutboxContext;
  readonly #config: QueueConfig;
  #waiting: Parcel[] = [];
  readonly #sent = new Map<number, Parcel>();
  #online = false;
  #frameBytes = DEFAULT_FRAME_BYTES;
  #pause: Cancel | undefined;
  #expiry: Cancel | undefined;
  #published = 0;

  constructor(context: OutboxContext, config: QueueConfig) {
    this.#context = context;
    this.#config = config;
  }

  /** How many publishes the server confirmed. */
  get published(): number {
    return this.#published;
  }

  publish(topic: string, payload: unknown, options: PublishOptions): Promise<PublishedMessage> {
    return new Promise((resolve, reject) => {
      const id = this.#context.requests.newId();
      const text = this.#encode(id, topic, payload, options);
      this.#waiting.push({ id, text, queuedAt: this.#context.now(), resolve, reject });
      this.#flush();
      this.#bound();
      this.#watchAge();
    });
  }

  /** A connection is there. `frameBytes`: the largest frame that it takes. */
  resume(frameBytes: number | undefined): void {
    this.#online = true;
    this.#frameBytes = frameBytes ?? DEFAULT_FRAME_BYTES;
    this.#flush();
  }

  /** The connection is gone: what it did not answer goes first on the next. */
  suspend(): void {
    this.#online = false;
    this.#pause?.();
    this.#pause = undefined;
    this.#waiting = [...this.#sent.values(), ...this.#waiting];
    this.#sent.clear();
    this.#watchAge();
  }

  /** No connection will follow: reject everything. */
  abandon(error: ConnectionError): void {
    const all = [...this.#sent.values(), ...this.#waiting];
    this.#sent.clear();
    this.#waiting = [];
    this.#watchAge();
    for (const parcel of all) parcel.reject(error);
  }

  /** @throws {NotificationError} what the server would refuse, without asking it. */
  #encode(id: number, topic: string, payload: unknown, options: PublishOptions): string {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new NotificationError("BAD_TOPIC", problem);
    const { idempotencyKey = this.#context.newId(), ...metadata } = options;
    const text = JSON.stringify({
      type: "publish",
      id,
      topic,
      payload: payload ?? null,
      ...(hasFields(metadata) ? { metadata } : {}),
      idempotencyKey,
    });
    // A server closes for good on a larger one. UTF-8 takes at most 3 bytes per UTF-16 unit.
    const large = text.length * 3 > this.#frameBytes;
    if (large && new TextEncoder().encode(text).length > this.#frameBytes) {
      throw new NotificationError("PAYLOAD_TOO_LARGE", "Send a smaller payload, or a link to it.");
    }
    return text;
  }

  #flush(): void {
    while (this.#online && this.#pause === undefined && this.#sent.size < WINDOW) {
      const parcel = this.#waiting.shift();
      if (parcel === undefined) return;
      this.#send(parcel);
    }
  }

  #send(parcel: Parcel): void {
    this.#sent.set(parcel.id, parcel);
    this.#context.requests.expect(parcel.id, {
      ok: (frame) => {
        if (frame.type !== "published") return;
        this.#sent.delete(parcel.id);
        this.#published += 1;
        parcel.resolve(published(frame));
        this.#flush();
      },
      refused: (error) => {
        this.#sent.delete(parcel.id);
        if (error.temporary) this.#hold(parcel, error.retryAfter ?? PAUSE);
        else parcel.reject(error);
        this.#flush();
      },
      lost: () => undefined, // suspend() puts it back
    });
    this.#context.sendText(parcel.text);
  }

  /** Put a parcel back in its place, and send nothing for a while. */
  #hold(parcel: Parcel, delay: number): void {
    const later = this.#waiting.findIndex((other) => other.id > parcel.id);
    this.#waiting.splice(later === -1 ? this.#waiting.length : later, 0, parcel);
    this.#watchAge();
    this.#pause?.();
    this.#pause = this.#context.after(delay, () => {
      this.#pause = undefined;
      this.#flush();
    });
  }

  #bound(): void {
    const { maxSize, overflowStrategy } = this.#config;
    while (this.#waiting.length > maxSize) {
      const oldest = overflowStrategy === "drop-oldest";
      const out = oldest ? this.#waiting.shift() : this.#waiting.pop();
      const code = overflowStrategy === "reject" ? "QUEUE_FULL" : "DROPPED";
      out?.reject(new NotificationError(code, `More than ${maxSize} publishes wait.`));
    }
  }

  /** Reject what waits too long, and look again when the next one is due. */
  #watchAge(): void {
    this.#expiry?.();
    this.#expiry = undefined;
    const now = this.#context.now();
    let head = this.#waiting[0];
    while (head !== undefined && now - head.queuedAt >= this.#config.maxAge) {
      this.#waiting.shift();
      head.reject(
        new NotificationError("EXPIRED", "The publish waited too long for a connection."),
      );
      head = this.#waiting[0];
    }
    if (head === undefined) return;
    this.#expiry = this.#context.after(head.queuedAt + this.#config.maxAge - now, () => {
      this.#watchAge();
    });
  }
}

function hasFields(metadata: MessageMetadata): boolean {
  return Object.values(metadata).some((value) => value !== undefined);
}

function published(frame: Published): PublishedMessage {
  const { messageId, topic, timestamp, seq, position, duplicate } = frame;
  return {
    id: messageId,
    topic,
    timestamp,
    ...(seq === undefined ? {} : { seq }),
    ...(position === undefined ? {} : { position }),
    ...(duplicate ? { duplicate } : {}),
  };
}
