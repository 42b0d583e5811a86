/** Publishes on their way: waiting for a connection, or sent and not yet answered. */
import { encode } from "./encode.ts";
import type { Cancel, Environment } from "./environment.ts";
import { ConnectionError, NotificationError } from "./errors.ts";
import type { Published } from "./frames.ts";
import type { Link } from "./link.ts";
import type { Requests } from "./requests.ts";
import type {
  NotificationClientConfig,
  PublishOptions,
  PublishedMessage,
  QueueConfig,
} from "./types.ts";
import { topicProblem } from "./topics.ts";
import { hasFields } from "./entry.ts";

const DEFAULT_QUEUE: QueueConfig = {
  maxSize: 1_000,
  maxAge: 300_000,
  overflowStrategy: "drop-oldest",
};

/** Sent and unanswered at once: what a server takes before it lets a connection wait. */
const WINDOW = 64;
/** Wait after a temporary refusal that names no time. */
const PAUSE = 1_000;
const DEFAULT_FRAME_BYTES = 65_536;

export interface OutboxContext {
  readonly config: Pick<NotificationClientConfig, "queueConfig">;
  readonly environment: Pick<Environment, "after" | "elapsed" | "newId">;
  readonly link: Pick<Link, "sendText">;
  readonly requests: Requests;
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
 * Bound: `maxSize` waiting, and WINDOW sent or to be sent again. Policy: `overflowStrategy` for
 * those that have never been sent, and `maxAge` for all that wait. Order: first in, first out.
 */
export class Outbox {
  readonly #context: OutboxContext;
  readonly #config: QueueConfig;
  readonly #waiting: Parcel[] = [];
  /** Sent before, and lost without an answer or refused for now: these go first. */
  readonly #again: Parcel[] = [];
  readonly #sent = new Map<number, Parcel>();
  #online = false;
  #frameBytes = DEFAULT_FRAME_BYTES;
  #pause: Cancel | undefined;
  #expiry: Cancel | undefined;
  /** How many publishes the server confirmed. */
  published = 0;

  constructor(context: OutboxContext) {
    this.#context = context;
    this.#config = { ...DEFAULT_QUEUE, ...context.config.queueConfig };
  }

  /** @throws {NotificationError} `QUEUE_FULL`, where the queue rejects what it can not hold. */
  publish(topic: string, payload: unknown, options: PublishOptions): Promise<PublishedMessage> {
    const { maxSize, overflowStrategy } = this.#config;
    const isFull = !this.#isFree() && this.#waiting.length >= maxSize;
    if (isFull && overflowStrategy === "reject") {
      throw queueError("QUEUE_FULL", tooMany(maxSize));
    }
    return new Promise((resolve, reject) => {
      const id = this.#context.requests.newId();
      const text = this.#encode(id, topic, payload, options);
      this.#waiting.push({ id, text, queuedAt: this.#context.environment.elapsed(), resolve, reject });
      this.#flush();
      this.#bound();
      this.#watchAge();
    });
  }

  /** @param frameBytes the largest frame that the server takes. */
  limit(frameBytes = DEFAULT_FRAME_BYTES): void {
    this.#frameBytes = frameBytes;
  }

  /** A connection is there, and its subscriptions are. */
  resume(): void {
    this.#online = true;
    this.#flush();
    this.#watchAge();
  }

  /** The connection is gone: what it did not answer goes first on the next. */
  suspend(): void {
    this.#online = false;
    this.#pause?.();
    this.#pause = undefined;
    this.#putBack(...this.#sent.values());
    this.#sent.clear();
    this.#watchAge();
  }

  /** No connection will follow: reject everything. */
  abandon(error: ConnectionError): void {
    const all = [...this.#sent.values(), ...this.#again.splice(0), ...this.#waiting.splice(0)];
    this.#sent.clear();
    this.#watchAge();
    for (const parcel of all) parcel.reject(error);
  }

  /** @throws {NotificationError} what the server would refuse, without asking it. */
  #encode(id: number, topic: string, payload: unknown, options: PublishOptions): string {
    const problem = topicProblem(topic);
    if (problem !== undefined) throw new NotificationError("BAD_TOPIC", problem);
    const { idempotencyKey = this.#context.environment.newId(), ...metadata } = options;
    metadata.expiresAt?.toISOString(); // throws for an invalid date, which JSON would make null
    const text = encode({
      type: "publish",
      id,
      topic,
      payload: payload ?? null,
      metadata: hasFields(metadata) ? metadata : undefined,
      idempotencyKey,
    });
    // A server closes for good on a larger one.
    if (new TextEncoder().encode(text).length > this.#frameBytes) {
      throw new NotificationError("PAYLOAD_TOO_LARGE", "Send a smaller payload.");
    }
    return text;
  }

  /** Whether a publish would be sent now. */
  #isFree(): boolean {
    return this.#online && this.#pause === undefined && this.#sent.size < WINDOW;
  }

  #flush(): void {
    while (this.#isFree()) {
      const parcel = this.#again.shift() ?? this.#waiting.shift();
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
        this.published += 1;
        parcel.resolve(published(frame));
        this.#flush();
      },
      refused: (error) => {
        this.#sent.delete(parcel.id);
        if (error.temporary) this.#hold(parcel, error.retryAfter ?? PAUSE);
        else parcel.reject(error);
        this.#flush();
      },
    });
    this.#context.link.sendText("publish", parcel.text, parcel.id);
  }

  /** Put a parcel back in its place, and send nothing for a while. */
  #hold(parcel: Parcel, delay: number): void {
    this.#putBack(parcel);
    this.#watchAge();
    this.#pause?.();
    this.#pause = this.#context.environment.after(delay, () => {
      this.#pause = undefined;
      this.#flush();
    });
  }

  #putBack(...parcels: Parcel[]): void {
    this.#again.push(...parcels);
    this.#again.sort((one, other) => one.id - other.id);
  }

  #bound(): void {
    const { maxSize, overflowStrategy } = this.#config;
    while (this.#waiting.length > maxSize) {
      const isOldest = overflowStrategy === "drop-oldest";
      const out = isOldest ? this.#waiting.shift() : this.#waiting.pop();
      out?.reject(queueError("DROPPED", tooMany(maxSize)));
    }
  }

  /** Reject what waits too long, and look again when the next one is due. */
  #watchAge(): void {
    this.#expiry?.();
    this.#expiry = undefined;
    const { maxAge } = this.#config;
    const now = this.#context.environment.elapsed();
    for (const queue of [this.#again, this.#waiting]) {
      for (let head = queue[0]; head !== undefined; head = queue[0]) {
        const left = head.queuedAt + maxAge - now;
        if (left > 0) {
          this.#expireIn(left);
          return;
        }
        queue.shift();
        head.reject(queueError("EXPIRED", "It waited too long."));
      }
    }
  }

  #expireIn(left: number): void {
    this.#expiry = this.#context.environment.after(left, () => {
      this.#watchAge();
    });
  }
}

function published({ type, messageId, ...rest }: Published): PublishedMessage {
  return { ...rest, id: messageId };
}

function tooMany(maxSize: number): string {
  return `${maxSize} publishes wait: try again later.`;
}

/** What the queue refuses: the same publish may succeed later. */
function queueError(code: string, message: string): NotificationError {
  return new NotificationError(code, message, { temporary: true });
}
