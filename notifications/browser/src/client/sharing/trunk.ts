/** The one real connection of a browser, as the switchboard uses it. */
import { CloseCode } from "../codes.ts";
import type { Environment, Socket } from "../environment.ts";
import type { RequestId } from "../frames.ts";
import { Heartbeat } from "../heartbeat.ts";
import { type Frame, parse } from "./wire.ts";

export interface TrunkEvents {
  /** The server took the token. */
  accepted(welcome: Frame): void;
  /** A frame that answers no request. */
  frame(frame: Frame): void;
  /** The connection is gone; requests are not answered any more. */
  lost(code: number): void;
}

/** Hears the answer to a request; true when another will follow under the same id. */
type Answered = (reply: Frame) => boolean | void;

export class Trunk {
  readonly #environment: Environment;
  readonly #events: TrunkEvents;
  #socket: Socket | undefined;
  #heartbeat: Heartbeat | undefined;
  #lastId = 0;
  #authSentAt = 0;
  /** The last round trip to the server, in milliseconds; the handshake's at first. */
  latency = 0;
  /** Bound: what the tabs' clients ask at once, each with its own bound. */
  readonly #asked = new Map<RequestId, Answered>();

  constructor(environment: Environment, events: TrunkEvents) {
    this.#environment = environment;
    this.#events = events;
  }

  /** Connect and send the first frame, unless there is a connection. */
  open(url: string, protocol: string, auth: Frame): void {
    if (this.#socket !== undefined) return;
    const socket = this.#environment.open(url, protocol, {
      opened: () => {
        this.#authSentAt = this.#environment.elapsed();
        if (this.#socket === socket) this.send(auth);
      },
      received: (data) => {
        if (this.#socket !== socket) return;
        this.#heartbeat?.alive();
        for (const frame of parse(data)) if (this.#socket === socket) this.#take(frame);
      },
      closed: (code) => {
        if (this.#socket === socket) this.#lose(code);
      },
    });
    this.#socket = socket;
  }

  /** Close without a word to anybody here. */
  close(): void {
    this.#heartbeat?.stop();
    this.#asked.clear();
    const socket = this.#socket;
    this.#socket = this.#heartbeat = undefined;
    socket?.close(CloseCode.NORMAL);
  }

  send(frame: Frame): void {
    try {
      this.#socket?.send(JSON.stringify(frame));
    } catch {
      // The socket is closing; its close event tells what happened.
    }
  }

  /** Send a request under an id of our own; its answers come with the id that it had. */
  ask(frame: Frame, answered: Answered): void {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#asked.set(id, (reply) => answered({ ...reply, id: frame.id }));
    this.send({ ...frame, id });
  }

  /** Ask for a sign of life now. */
  probe(): void {
    this.#heartbeat?.probe();
  }

  #take(frame: Frame): void {
    if (frame.type === "pong") this.#measure(Number(frame["t"]));
    if (frame.type === "auth_success" && this.#heartbeat === undefined) {
      this.#measure(this.#authSentAt);
      const { timeout } = frame["heartbeat"] as { timeout: number };
      // The pings of the tabs set the pace, so there is no interval.
      const pace = { interval: 0, timeout };
      this.#heartbeat = new Heartbeat(this.#environment, pace, {
        ping: (t) => {
          this.send({ type: "ping", t });
        },
        dead: () => {
          const socket = this.#socket;
          this.#lose(CloseCode.HEARTBEAT_MISSED);
          socket?.close();
        },
      });
      this.#events.accepted(frame);
      return;
    }
    const answered = frame.id === undefined ? undefined : this.#asked.get(frame.id);
    if (frame.id === undefined || answered === undefined) this.#events.frame(frame);
    else if (answered(frame) !== true) this.#asked.delete(frame.id);
  }

  #measure(sentAt: number): void {
    this.latency = this.#environment.elapsed() - sentAt;
  }

  #lose(code: number): void {
    this.#heartbeat?.stop();
    this.#asked.clear();
    this.#socket = this.#heartbeat = undefined;
    this.#events.lost(code);
  }
}
