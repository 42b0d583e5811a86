/** What the server's frames mean, once a connection is accepted. */
import { NotificationError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { AuthSuccess, ReplayComplete, ServerFrame, Unsubscribed } from "./frames.ts";
import { Progress } from "./progress.ts";
import type { Requests } from "./requests.ts";
import type { Statistics } from "./statistics.ts";
import type { Subscriptions } from "./subscriptions.ts";
import type { NotificationMessage } from "./types.ts";

export interface InboxContext {
  readonly events: Events;
  readonly requests: Requests;
  readonly statistics: Statistics;
  readonly subscriptions: Subscriptions;
  now(): number;
  elapsed(): number;
  /** Tell the state of a new round trip. */
  measured(latency: number): void;
  refresh(): void;
}

export class Inbox {
  readonly progress = new Progress();
  readonly #context: InboxContext;
  /** From an auth_success that resumed until its replay_complete. */
  #resuming = false;

  constructor(context: InboxContext) {
    this.#context = context;
  }

  /** @param hadSession whether this connection asked to resume one. */
  accepted(frame: AuthSuccess, hadSession: boolean): void {
    this.#resuming = hadSession && frame.resumed;
    if (!this.#resuming) this.progress.reset(frame.cursor);
    this.#context.subscriptions.restore(frame.subscriptions);
    if (hadSession && !frame.resumed) {
      const event = { type: "recovery", recovered: false, count: 0 } as const;
      this.#context.events.emit({ ...event, reason: "SESSION_LOST" });
    }
  }

  lost(): void {
    this.#resuming = false;
  }

  take(frame: ServerFrame): void {
    switch (frame.type) {
      case "message":
        this.#message(frame.message);
        return;
      case "pong":
        if (frame.t !== undefined) this.#measure(this.#context.elapsed() - frame.t);
        this.progress.merge(frame.cursor);
        return;
      case "gap": {
        const { type, topic, reason, cursor } = frame;
        this.progress.reset(cursor);
        this.#context.events.emit({
          type,
          reason,
          cursor,
          ...(topic === undefined ? {} : { topic }),
        });
        return;
      }
      case "replay_complete":
        this.#replayComplete(frame);
        return;
      case "token_expiring":
        this.#context.refresh();
        return;
      case "unsubscribed":
        if (!this.#context.requests.answer(frame.id, frame)) this.#unsubscribed(frame);
        return;
      case "error":
        if (!this.#context.requests.answer(frame.id, frame)) {
          this.#context.events.emit({ type: "server_error", error: frame.error });
        }
        return;
      case "subscribed":
      case "published":
      case "refreshed":
        this.#context.requests.answer(frame.id, frame);
        return;
      case "auth_success":
      case "disconnect":
        return; // the connection took them
    }
  }

  #message(message: NotificationMessage): void {
    const { events, statistics, subscriptions, now } = this.#context;
    const { position } = message;
    // What was asked for again, here or by an operator, is wanted even where the cursor covers it.
    const fromReplay = message.replayed === true && !this.#resuming;
    const repeats = position !== undefined && this.progress.repeats(position);
    if (repeats && !fromReplay) return;
    statistics.received += 1;
    let work: Promise<void>[] | undefined;
    for (const local of subscriptions.matching(message.topic, fromReplay)) {
      const running = local.handle(message, now(), (error) => {
        events.emit({ type: "handler_error", error, message });
      });
      if (running !== undefined) (work ??= []).push(running);
    }
    this.progress.handled(position, work && Promise.all(work));
  }

  #replayComplete({ id, recovered, count, reason, cursor }: ReplayComplete): void {
    const topic = id === undefined ? undefined : this.#context.subscriptions.replayed(id);
    if (id === undefined) this.#resuming = false;
    // A resume that failed sets the cursor: one that lay above the head would drop live messages.
    if (id === undefined && !recovered) this.progress.reset(cursor);
    else this.progress.merge(cursor);
    this.#context.events.emit({
      type: "recovery",
      recovered,
      count,
      ...(reason === undefined ? {} : { reason }),
      ...(topic === undefined ? {} : { topic }),
    });
  }

  #unsubscribed({ subscriptionId, code, reason }: Unsubscribed): void {
    const error = new NotificationError(
      code ?? "FORBIDDEN",
      reason ?? "The server ended this subscription.",
    );
    this.#context.subscriptions.ended(subscriptionId, error);
  }

  #measure(latency: number): void {
    this.#context.statistics.measured(latency, this.#context.now());
    this.#context.measured(latency);
  }
}
