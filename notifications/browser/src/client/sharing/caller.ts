/** The switchboard's end of a tab's socket. */
import { CloseCode } from "../codes.ts";
import type { Cursor } from "../cursor.ts";
import type { Segments } from "../topics.ts";
import {
  type Frame,
  type Kept,
  type ToTab,
  type Wish,
  type Wishes,
  wants,
} from "./wire.ts";

/** Frames that may be on their way to a tab. Policy: over it, the tab resumes when it reads. */
const MAX_UNREAD = 10_000;

export class Caller {
  readonly tab: string;
  readonly line: number;
  /** The tab's first frame. */
  readonly auth: Frame;
  /** What it subscribed to. */
  readonly wishes: Wishes;
  /** The session that it was told of last. */
  sessionId: string;
  /** Where it stands: the cursor of its auth_success, then of its acknowledgements. */
  place: Cursor | undefined;
  acked: Cursor | undefined;
  /** Whether it gets what is live: not before what it missed. */
  isLive = false;
  /** Whether a replay that it asked for goes out. */
  isReplaying = false;
  isClosed = false;
  readonly #post: (message: ToTab) => void;
  #unread = 0;

  constructor(
    tab: string,
    line: number,
    auth: Frame,
    kept: Kept | undefined,
    post: (message: ToTab) => void,
  ) {
    this.tab = tab;
    this.line = line;
    this.auth = auth;
    this.wishes = new Map(kept?.wishes);
    this.sessionId = kept?.sessionId ?? "";
    this.#post = post;
  }

  give(frame: Frame): void {
    this.giveText(JSON.stringify(frame));
  }

  giveText(text: string): void {
    if (this.isClosed) return;
    this.#unread += 1;
    if (this.#unread > MAX_UNREAD) this.close(CloseCode.SLOW_CONSUMER);
    else this.#post({ line: this.line, text });
  }

  read(count: number): void {
    this.#unread -= count;
  }

  /** Note a wish; before the frame that tells the tab of it. */
  want(subscriptionId: string, wish: Wish): void {
    this.wishes.set(subscriptionId, wish);
    this.keep();
  }

  /** Whether there was such a wish. */
  wantNoMore(subscriptionId: string): boolean {
    const had = this.wishes.delete(subscriptionId);
    if (had) this.keep();
    return had;
  }

  /** Have the tab keep its session and subscriptions. */
  keep(): void {
    if (this.isClosed) return;
    const { sessionId, wishes } = this;
    this.#post({ line: this.line, kept: { sessionId, wishes: [...wishes] } });
  }

  close(code: number): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#post({ line: this.line, closed: code });
  }

  /** What it asks for can not be had here: let it open a socket of its own. */
  sendAway(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#post({ line: this.line, alone: true });
  }

  refuse(request: Frame, code: string, message: string, more: object = {}): void {
    this.give({ type: "error", id: request.id, code, message, temporary: false, ...more });
  }

  /** Whether a live message is for this tab. */
  takes(topic: Segments): boolean {
    if (!this.isLive) return false;
    for (const wish of this.wishes.values()) if (wants(wish.topic, topic)) return true;
    return false;
  }

  /**
   * Whether a message of a replay is for this tab.
   *
   * @param age how old it is. `resumes`: whether this is what it missed, not what it asked for.
   */
  missed(topic: Segments, age: number, resumes: boolean): boolean {
    for (const wish of this.wishes.values()) {
      const { replayMissed, maxReplayAge = Infinity } = wish.options;
      if (resumes && replayMissed === false) continue;
      if (age <= maxReplayAge && wants(wish.topic, topic)) return true;
    }
    return false;
  }
}
