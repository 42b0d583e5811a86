/** Requests that wait for their reply, by id. Bound: what callers ask at once. */
import type { NotificationError } from "./errors.ts";
import type { RequestId, ServerFrame } from "./frames.ts";

/** Callbacks, not promises: a reply takes effect before the next frame of its batch is handled. */
export interface Reply {
  ok(frame: ServerFrame): void;
  refused(error: NotificationError): void;
  /** The connection ended first: whether the server did it is unknown. */
  lost?(): void;
}

export class Requests {
  #last = 0;
  readonly #waiting = new Map<RequestId, Reply>();

  newId(): number {
    return (this.#last += 1);
  }

  expect(id: RequestId, reply: Reply): void {
    this.#waiting.set(id, reply);
  }

  /** Hand a frame to the request that it answers; false when none does. */
  answer(id: RequestId | undefined, frame: ServerFrame): boolean {
    const reply = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || reply === undefined) return false;
    this.#waiting.delete(id);
    if (frame.type === "error") reply.refused(frame.error);
    else reply.ok(frame);
    return true;
  }

  lose(): void {
    const lost = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const reply of lost) reply.lost?.();
  }
}
