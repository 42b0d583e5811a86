/** What the server's frames mean, once a connection is accepted. */
import { type Cursor, CursorTrack } from "./cursor.ts";
import { Delivery, MAX_WAITING } from "./delivery.ts";
import type { Environment } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import type { Events } from "./events.ts";
import type { AuthSuccess, ReplayComplete, ServerFrame, Unsubscribed } from "./frames.ts";
import type { Link } from "./link.ts";
import type { Progress } from "./progress.ts";
import type { Refresher } from "./refresher.ts";
import type { Owed, Replays } from "./replays.ts";
import type { Requests } from "./requests.ts";
import type { Statistics } from "./statistics.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { matches, split } from "./topics.ts";
import type { NotificationMessage } from "./types.ts";

export interface InboxContext {
  readonly environment: Pick<Environment, "now" | "elapsed">;
  readonly events: Events;
  readonly link: Pick<Link, "drop" | "machine">;
  readonly progress: Progress;
  readonly refresher: Pick<Refresher, "refresh">;
  readonly replays: Replays;
  readonly requests: Requests;
  readonly statistics: Statistics;
  readonly subscriptions: Subscriptions;
}

export class Inbox {
  /** Where `replayMissed` begins on this connection. */
  base: Cursor = { epoch: "", offsets: {} };
  readonly #context: InboxContext;
  /** From an auth_success that resumed until its replay_complete. */
  #resuming = false;
  /**
   * What came live while the replay in place of a lost session was waited for. Bound MAX_WAITING,
   * over which the connection is dropped: the new session can be resumed.
   */
  #held: ServerFrame[] | undefined;

  constructor(context: InboxContext) {
    this.#context = context;
  }

  /** @param hadSession whether this connection asked to resume one. */
  accepted(frame: AuthSuccess, hadSession: boolean): void {
    const { progress, replays, subscriptions } = this.#context;
    const from = hadSession ? progress.cursor() : undefined;
    this.base = frame.cursor;
    this.#resuming = from !== undefined && frame.resumed;
    const isLost = from !== undefined && !frame.resumed;
    if (from === undefined) progress.reset(frame.cursor);
    if (isLost) this.#held = [];
    subscriptions.restore(frame.subscriptions, from);
    const own = isLost ? this.#inPlaceOfSession(from, frame.cursor) : undefined;
    if (!this.#resuming) replays.open(own);
  }

  lost(): void {
    this.#resuming = false;
    this.#held = undefined;
  }

  take(frame: ServerFrame): void {
    if (frame.type === "pong") this.#measure(frame.t);
    const isOrdered = frame.type === "message" || frame.type === "pong" || frame.type === "gap";
    if (this.#held === undefined || !isOrdered || isReplayed(frame)) this.#apply(frame);
    else if (this.#held.push(frame) > MAX_WAITING) this.#context.link.drop();
  }

  #apply(frame: ServerFrame): void {
    const { events, progress, requests } = this.#context;
    if (frame.type === "replay_complete" && frame.id !== undefined) progress.merge(frame.cursor);
    if ("id" in frame && requests.answer(frame.id, frame)) return;
    switch (frame.type) {
      case "message":
        this.#message(frame.message);
        return;
      case "pong":
        progress.merge(frame.cursor);
        return;
      case "gap":
        this.base = frame.cursor;
        progress.reset(frame.cursor);
        events.emit(frame);
        return;
      case "replay_complete":
        if (frame.id === undefined) this.#resumed(frame);
        return;
      case "token_expiring":
        void this.#context.refresher.refresh();
        return;
      case "subscribed":
        this.#context.subscriptions.adopt(frame); // others began it
        return;
      case "unsubscribed":
        this.#unsubscribed(frame);
        return;
      case "error":
        events.emit({ type: "server_error", error: frame.error });
        return;
      default: // an answer that nobody waits for any more
    }
  }

  /** A replay of a subscription, or in place of a session, has ended. */
  replayed({ recovered, count, reason = "", cursor }: ReplayComplete, topic?: string): void {
    const about = topic === undefined ? {} : { topic };
    if (recovered) this.#context.events.emit({ type: "recovered", count, ...about });
    else this.#context.events.emit({ type: "gap", reason, cursor, ...about });
  }

  #message(message: NotificationMessage): void {
    const { progress, replays, statistics, subscriptions } = this.#context;
    const { position, topic } = message;
    // What was asked for again, here or by an operator, is wanted even where the cursor covers it.
    const isAgain = message.replayed === true && !this.#resuming && replays.current?.isOwn !== true;
    if (position !== undefined && progress.repeats(position) && !isAgain) return;
    const owed = isAgain ? replays.current : undefined;
    // Another topic's is an operator's redelivery, which may come in between.
    const isOwed =
      owed !== undefined &&
      (owed.segments === undefined || matches(owed.segments, split(topic)));
    if (isOwed && (owed.isOver === true || !isFresh(owed, message))) return;
    statistics.received += 1;
    const delivery = new Delivery(message);
    const only = isOwed ? owed.target : undefined;
    const targets = only === undefined ? subscriptions.entries.matching(topic) : [only];
    for (const target of targets) target.deliver(delivery, isOwed);
    progress.handled(position, delivery, isOwed ? owed.place : undefined);
  }

  /** The replay that follows a resume has ended. */
  #resumed(frame: ReplayComplete): void {
    this.#resuming = false;
    // A resume that failed sets the cursor: one that lay above the head would drop live messages.
    if (frame.recovered) this.#context.progress.merge(frame.cursor);
    else this.#context.progress.reset(frame.cursor);
    this.#context.replays.open();
    this.replayed(frame); // the last: who hears of it may disconnect
  }

  /** The session is gone: ask for what came after our own cursor, and hold what comes live. */
  #inPlaceOfSession(cursor: Cursor, head: Cursor): Owed {
    const { progress } = this.#context;
    const follow = (): void => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const frame of held) this.#apply(frame);
    };
    const giveUp = (): void => {
      progress.reset(head);
      this.#context.events.emit({ type: "gap", reason: "SESSION_LOST", cursor: head });
      follow();
    };
    return {
      isOwn: true,
      brought: new CursorTrack(),
      ask: () => ({ type: "replay", cursor }),
      done: (frame) => {
        if (frame.recovered) {
          this.replayed(frame);
          follow();
        } else {
          giveUp();
          progress.merge(frame.cursor);
        }
      },
      refused: ({ temporary }) => {
        if (!temporary) giveUp();
        return temporary;
      },
      giveUp,
    };
  }

  #unsubscribed({ subscriptionId, code, reason }: Unsubscribed): void {
    const error = new NotificationError(
      code ?? "FORBIDDEN",
      reason ?? "The server ended it.",
    );
    this.#context.subscriptions.ended(subscriptionId, error);
  }

  /** @param t when the ping was sent. */
  #measure(t: number | undefined): void {
    if (t === undefined) return;
    const { environment, link, statistics } = this.#context;
    const latency = environment.elapsed() - t;
    statistics.measured(latency, environment.now());
    link.machine.measure(latency);
  }
}

function isReplayed(frame: ServerFrame): boolean {
  return frame.type === "message" && frame.message.replayed === true;
}

/** Whether a replay has not brought a message before it was cut off; note that it has now. */
function isFresh({ brought }: Owed, { position }: NotificationMessage): boolean {
  if (position === undefined) return true;
  const fresh = !brought.covers(position);
  brought.advance(position);
  return fresh;
}
