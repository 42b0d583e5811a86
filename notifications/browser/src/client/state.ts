/** The connection's states as a table. An illegal event is one named error. */
import { Listeners } from "./listeners.ts";
import type { ConnectionState } from "./types.ts";

export type Status = ConnectionState["status"];

/**
 * - `try`: a connection attempt begins
 * - `establish`: the server accepted the token
 * - `lose`: an attempt or a connection failed, and a retry is planned
 * - `end`: no retry will follow
 */
export type StateEvent = "try" | "establish" | "lose" | "end";

const TABLE: Readonly<Record<Status, Readonly<Partial<Record<StateEvent, Status>>>>> = {
  disconnected: { try: "connecting" },
  connecting: { establish: "connected", lose: "reconnecting", end: "disconnected" },
  connected: { lose: "reconnecting", end: "disconnected" },
  reconnecting: { try: "connecting", end: "disconnected" },
};

/** An event that the present state does not know: a mistake in this client. */
export class IllegalTransition extends Error {
  override readonly name = "IllegalTransition";
}

/** Look up the status after an event. */
export function next(status: Status, event: StateEvent): Status {
  const after = TABLE[status][event];
  if (after === undefined) throw new IllegalTransition(`${event} while ${status}`);
  return after;
}

/** Holds the state and tells the listeners of each transition. */
export class StateMachine extends Listeners<ConnectionState> {
  #state: ConnectionState = { status: "disconnected" };

  get state(): ConnectionState {
    return this.#state;
  }

  /** Move to `state`, which must be where `event` leads. */
  move(event: StateEvent, state: ConnectionState): void {
    const after = next(this.#state.status, event);
    if (after !== state.status) throw new IllegalTransition(`${event} leads to ${after}`);
    this.#state = state;
    this.tell(state);
  }

  /** Note a new round trip; no transition, so nobody is told. */
  measure(latency: number): void {
    if (this.#state.status === "connected") this.#state = { ...this.#state, latency };
  }
}
