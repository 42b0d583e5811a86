/** Requests that wait for their reply, by id. Bound: what callers ask at once. */
import type { NotificationError } from "./errors.ts";
import type { ClientFrame, RequestId, ServerFrame } from "./frames.ts";

/** Callbacks, not promises: a reply takes effect before the next frame of its batch is handled. */
export interface Reply {
  /** True: another answer follows. */
  ok(frame: ServerFrame): boolean | void;
  refused(error: NotificationError): void;
}

/** A frame that has a reply, before it has an id. */
export type Unnumbered<F> = F extends { readonly id: RequestId } ? Omit<F, "id"> : never;

export class Requests {
  #last = 0;
  readonly #waiting = new Map<RequestId, Reply>();
  readonly #send: (frame: ClientFrame) => void;

  constructor(send: (frame: ClientFrame) => void) {
    this.#send = send;
  }

  newId(): number {
    return (this.#last += 1);
  }

  expect(id: RequestId, reply: Reply): void {
    this.#waiting.set(id, reply);
  }

  /** Send a request under a new id. */
  ask(request: Unnumbered<ClientFrame>, reply: Reply): void {
    const id = this.newId();
    this.expect(id, reply);
    this.#send({ ...request, id } as ClientFrame);
  }

  /** Hand a frame to the request that it answers; false when none does. */
  answer(id: RequestId | undefined, frame: ServerFrame): boolean {
    const reply = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || reply === undefined) return false;
    this.#waiting.delete(id);
    if (frame.type === "error") reply.refused(frame.error);
    else if (reply.ok(frame) === true) this.expect(id, reply);
    return true;
  }

  /** The connection is gone; nothing is answered any more. */
  lose(): void {
    this.#waiting.clear();
  }
}
