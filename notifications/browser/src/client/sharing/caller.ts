/** The switchboard's end of a tab's socket. */
import { CloseCode } from "../codes.ts";
import type { Cursor } from "../cursor.ts";
import { type Segments, matches, split } from "../topics.ts";
import { FAREWELL, type Frame, type Kept, type ToTab, type Wishes } from "./wire.ts";

/** Frames that may be on their way to a tab. Policy: over it, the tab resumes when it reads. */
const MAX_UNREAD = 10_000;

export class Caller {
  readonly tab: string;
  readonly line: number;
  /** The tab's first frame. */
  readonly auth: Frame;
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
  isOpen = true;
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
    if (this.isOpen) this.giveText(JSON.stringify(frame));
  }

  giveText(text: string): void {
    this.#unread += 1;
    if (this.#unread > MAX_UNREAD) this.close(CloseCode.SLOW_CONSUMER);
    else this.#say({ text });
  }

  read(count: number): void {
    this.#unread -= count;
  }

  /** Have the tab keep its session and wishes: before the frame that tells it of them. */
  keep(): void {
    const { sessionId, wishes } = this;
    this.#say({ kept: { sessionId, wishes: [...wishes] } });
  }

  /** Note a wish, or (without a topic) that it is none any more; whether it was one. */
  want(subscriptionId: string, topic?: string): boolean {
    const had = this.wishes.delete(subscriptionId);
    if (topic !== undefined) this.wishes.set(subscriptionId, topic);
    this.keep();
    return had;
  }

  close(code: number): void {
    this.#say({ closed: code });
    this.isOpen = false;
  }

  /** Have it connect again at once. */
  restart(): void {
    this.give(FAREWELL);
    this.close(FAREWELL.code);
  }

  /** What it asks for can not be had here: let it open a socket of its own. */
  sendAway(): void {
    this.#say({ alone: true });
    this.isOpen = false;
  }

  /** Whether a message is for this tab. */
  wants(topic: Segments): boolean {
    for (const wish of this.wishes.values()) if (matches(split(wish), topic)) return true;
    return false;
  }

  #say(message: Omit<ToTab, "line">): void {
    if (this.isOpen) this.#post({ line: this.line, ...message });
  }
}
