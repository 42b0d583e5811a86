/** Tells the server now and then how far the handlers have come. */
import type { Cursor } from "./cursor.ts";
import type { Cancel, Environment } from "./environment.ts";
import type { Inbox } from "./inbox.ts";
import type { Link } from "./link.ts";
import type { Progress } from "./progress.ts";

/** Between two looks at the cursor; one that has not moved is not sent again. */
const EVERY = 5_000;

export interface AcknowledgerContext {
  readonly environment: Pick<Environment, "after">;
  readonly inbox: Pick<Inbox, "base">;
  readonly link: Pick<Link, "send">;
  readonly progress: Pick<Progress, "cursor">;
}

/**
 * Sends `ack` with the cursor, when it moved, while there is a connection.
 *
 * An ack is cumulative and has no answer: one that is lost is made up for by the next.
 */
export class Acknowledger {
  readonly #context: AcknowledgerContext;
  #told: string | undefined;
  #timer: Cancel | undefined;

  constructor(context: AcknowledgerContext) {
    this.#context = context;
  }

  /** @param known what the server knows of us already; undefined: whatever an earlier ack told. */
  start(known: Cursor | undefined): void {
    this.#told = JSON.stringify(known);
    this.#schedule();
  }

  stop(): void {
    this.#timer?.();
    this.#timer = undefined;
  }

  /** Tell the last place, and stop; nothing where there is no connection. */
  finish(): void {
    if (this.#timer !== undefined) this.#tell();
    this.stop();
  }

  #schedule(): void {
    this.#timer?.();
    this.#timer = this.#context.environment.after(EVERY, () => {
      this.#tell();
      this.#schedule();
    });
  }

  #tell(): void {
    const cursor = this.#context.progress.cursor();
    // Equal for equal cursors of one connection: integer keys come in ascending order.
    const text = JSON.stringify(cursor);
    if (cursor === undefined || text === this.#told) return;
    this.#told = text;
    this.#context.inbox.base = cursor;
    this.#context.link.send({ type: "ack", cursor });
  }
}
