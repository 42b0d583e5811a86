/** What the switchboard knows of the server: its answer to auth, its clock, how far it has come. */
import { type Cursor, CursorTrack } from "../cursor.ts";
import type { Frame } from "./wire.ts";

export class Standing {
  /** The server's auth_success, while there is a connection. */
  welcome: Frame | undefined;
  readonly #now: () => number;
  #expiresAt = 0;
  /** What the server's clock is ahead of ours. */
  #skew = 0;
  readonly #known = new CursorTrack();
  readonly #newest = new CursorTrack();

  constructor(now: () => number) {
    this.#now = now;
  }

  accepted(welcome: Frame): void {
    this.welcome = welcome;
    this.#skew = Date.parse(String(welcome["serverTime"])) - this.#now() || 0;
    this.expires(welcome);
    if (welcome.cursor !== undefined) this.restart(welcome.cursor);
  }

  /** Take when the token expires from an auth_success or a `refreshed`; an API key does not. */
  expires(frame: Frame): void {
    const expiresIn = Number(frame["expiresIn"] ?? 0);
    this.#expiresAt = expiresIn > 0 ? this.#now() + expiresIn : 0;
  }

  get expiresIn(): number | undefined {
    return this.#expiresAt === 0 ? undefined : Math.max(0, this.#expiresAt - this.#now());
  }

  /** The server's time. */
  now(): number {
    return this.#now() + this.#skew;
  }

  time(): string {
    return new Date(this.now()).toISOString();
  }

  /** Nothing live at or before it is still to come. */
  known(): Cursor | undefined {
    return this.#known.snapshot();
  }

  /** The newest place that the server told of: what begins now begins here. */
  newest(): Cursor | undefined {
    return this.#newest.snapshot();
  }

  reached(cursor: Cursor): void {
    this.#known.merge(cursor);
    this.#newest.merge(cursor);
  }

  /** A subscription begins at this place; what is before it may still be on its way. */
  saw(cursor: Cursor): void {
    this.#newest.merge(cursor);
  }

  /** Begin at this place, perhaps of another life of the log. */
  restart(cursor: Cursor): void {
    this.#known.reset(cursor);
    this.#newest.reset(cursor);
  }
}
