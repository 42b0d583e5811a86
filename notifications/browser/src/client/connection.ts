/** One socket, from its opening to its end. It outlives nothing and retries nothing. */
import { CloseCode } from "./codes.ts";
import { decode } from "./decode.ts";
import { type Down, closed, failed, refused, unauthenticated } from "./down.ts";
import type { Cancel, Environment, Socket } from "./environment.ts";
import { asError, type NotificationError } from "./errors.ts";
import type {
  AuthFrame,
  AuthSuccess,
  ClientFrame,
  Disconnect,
  RequestId,
  ServerFrame,
} from "./frames.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { NotificationClientConfig } from "./types.ts";

/** For token, handshake and auth together. The server gives auth alone 5 s. */
const OPEN_TIMEOUT = 15_000;
/** How long a graceful close waits for the server's answer. */
const CLOSE_TIMEOUT = 2_000;

const SUBPROTOCOL = "notifications.v1.json";

export interface ConnectionEvents {
  /** There is a token, and the socket opens now. */
  opening(): void;
  /** The first event of a connection that lives. `latency`: the round trip of auth. */
  accepted(frame: AuthSuccess, latency: number): void;
  frame(frame: ServerFrame): void;
  unreadable(detail: string): void;
  /**
   * The last event, exactly once, unless `close` came first.
   *
   * @param phase what was under way: getting the token, connecting with it, or the connection.
   */
  down(down: Down, phase: Phase): void;
}

export type Phase = "token" | "connecting" | "connected";

/** The application's wishes; the server's figures apply where they are absent. */
export type Pace = Pick<NotificationClientConfig, "heartbeatInterval" | "heartbeatTimeout">;

export class Connection {
  readonly #environment: Environment;
  readonly #events: ConnectionEvents;
  readonly #pace: Pace;
  #socket: Socket | undefined;
  #heartbeat: Heartbeat | undefined;
  #opening: Cancel | undefined;
  #sentAt = 0;
  #phase: Phase = "token";
  #ended = false;
  #onClosed: (() => void) | undefined;
  #refusal: NotificationError | undefined;
  #farewell: Disconnect | undefined;

  constructor(environment: Environment, pace: Pace, events: ConnectionEvents) {
    this.#environment = environment;
    this.#pace = pace;
    this.#events = events;
  }

  /** @param hello makes the first frame; called first, as the server's clock runs once we open. */
  async start(url: string, hello: () => Promise<AuthFrame>): Promise<void> {
    this.#opening = this.#environment.after(OPEN_TIMEOUT, () => {
      this.abort(failed("timeout", "The server did not answer in time.", true));
    });
    let first: AuthFrame;
    try {
      first = await hello();
    } catch (error) {
      this.abort(unauthenticated(error));
      return;
    }
    if (this.#ended) return;
    this.#phase = "connecting";
    this.#events.opening();
    if (!this.#ended) this.#open(url, first);
  }

  send(frame: ClientFrame): void {
    this.sendText(frame.type, JSON.stringify(frame), idOf(frame));
  }

  /** @param id the request's, to find it in the debug output. */
  sendText(type: string, text: string, id: RequestId | undefined): void {
    this.#environment.debug("sent", type, id, text.length);
    try {
      this.#socket?.send(text);
    } catch {
      // The socket is closing; its close event tells what happened.
    }
  }

  /** Ask for a sign of life now. */
  probe(): void {
    this.#heartbeat?.probe();
  }

  /** Say goodbye; resolves when the server answered, or soon after. No event follows. */
  async close(): Promise<void> {
    const socket = this.#release();
    if (socket === undefined) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#environment.after(CLOSE_TIMEOUT, resolve);
      this.#onClosed = () => {
        cancel();
        resolve();
      };
      socket.close(CloseCode.NORMAL);
    });
  }

  #open(url: string, first: AuthFrame): void {
    try {
      this.#socket = this.#environment.open(url, SUBPROTOCOL, {
        opened: () => {
          this.#sentAt = this.#environment.elapsed();
          this.send(first);
        },
        received: (data) => {
          this.#heartbeat?.alive();
          this.#environment.debug("received", (data as { length?: number }).length);
          decode(data, this.#sink);
        },
        closed: (code, refusal, cause) => {
          this.#onClosed?.();
          const why = this.#refusal ?? cause;
          this.abort(refusal ? refused(refusal) : closed(code, this.#farewell, why));
        },
      });
    } catch (error) {
      // A malformed URL, or ws: from an https: page: the same again would fail again.
      this.abort(failed("protocol_error", asError(error).message, false));
    }
  }

  readonly #sink = {
    frame: (frame: ServerFrame): void => {
      if (this.#ended) return; // the rest of a batch in which we ended
      this.#environment.debug("got", frame.type, idOf(frame));
      if (frame.type === "auth_success") this.#accept(frame);
      else if (frame.type === "disconnect") this.#farewell = frame;
      else if (this.#heartbeat !== undefined) this.#events.frame(frame);
      else if (frame.type === "error") this.#refusal = frame.error;
    },
    unknown: (type: string): void => {
      this.#environment.debug("ignored", type);
    },
    unreadable: (detail: string): void => {
      if (!this.#ended) this.#events.unreadable(detail);
    },
  };

  #accept(frame: AuthSuccess): void {
    if (this.#heartbeat !== undefined) return;
    this.#opening?.();
    this.#phase = "connected";
    const { interval, timeout } = frame.heartbeat;
    this.#heartbeat = new Heartbeat(
      this.#environment,
      {
        // Not longer than the server's: it closes who is silent for two of its intervals.
        interval: Math.min(this.#pace.heartbeatInterval ?? interval, interval),
        timeout: this.#pace.heartbeatTimeout ?? timeout,
      },
      {
        ping: (t) => {
          this.send({ type: "ping", t });
        },
        dead: () => {
          this.abort(failed("timeout", "The server did not answer in time.", true));
        },
      },
    );
    this.#heartbeat.start();
    this.#events.accepted(frame, this.#environment.elapsed() - this.#sentAt);
  }

  /** Give it up; also when it is lost. */
  abort(down: Down): void {
    if (this.#ended) return;
    this.#release()?.close();
    this.#events.down(down, this.#phase);
  }

  /** Stop timing and listening; give back the socket that is left to close. */
  #release(): Socket | undefined {
    this.#ended = true;
    this.#opening?.();
    this.#heartbeat?.stop();
    const socket = this.#socket;
    this.#socket = undefined;
    return socket;
  }
}

function idOf(frame: ClientFrame | ServerFrame): RequestId | undefined {
  const { message, id } = frame as { message?: { id: string }; id?: RequestId };
  return message?.id ?? id;
}
