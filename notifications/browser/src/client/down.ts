/** Why a connection ended, and whether to try again. Pure. */
import { CloseCode, closeMeaning, closeReason, reconnects } from "./codes.ts";
import { ConnectionError, NotificationError, asError } from "./errors.ts";
import type { Refusal } from "./environment.ts";
import type { Disconnect } from "./frames.ts";
import type { DisconnectReason } from "./types.ts";

/** No code in the close frame: not our server's doing, but that of something in between. */
const NO_CODE = 1005;

export interface Down {
  readonly error: ConnectionError;
  readonly retry: boolean;
  /** The server's wish, in milliseconds; it wins over the backoff. */
  readonly retryAfter?: number | undefined;
  /** Present when this side dropped a connection that was well: that is no failure to count. */
  readonly own?: true;
  /** How well the server said that it is. */
  readonly health?: number | undefined;
}

/**
 * Judge a close by what came before it.
 *
 * @param farewell the `disconnect` frame: it says more than the close, which may be lost (1006).
 * @param thrown the `error` that answered `auth`, or what the platform says.
 */
export function closed(
  code: number,
  farewell: Disconnect | undefined,
  thrown: unknown,
): Down {
  const told = farewell?.code ?? (code === NO_CODE ? CloseCode.ABNORMAL : code);
  const cause = thrown === undefined ? undefined : asError(thrown);
  const message = farewell?.reason || cause?.message || closeMeaning(told);
  const error = new ConnectionError(closeReason(told), message, { closeCode: told, cause });
  const asked = cause instanceof NotificationError ? cause.retryAfter : undefined;
  return {
    error,
    retry: farewell?.reconnect ?? reconnects(told),
    retryAfter: farewell?.retryAfter ?? asked,
    health: farewell?.health,
  };
}

/** Judge what the `auth` function threw: only a refusal that is not temporary is final. */
export function unauthenticated(thrown: unknown): Down {
  const cause = asError(thrown);
  const refused = cause instanceof NotificationError;
  const final = refused && !cause.temporary;
  const reason = final ? "authentication_failed" : "network_error";
  return {
    error: new ConnectionError(reason, cause.message, { cause }),
    retry: !final,
    retryAfter: refused ? cause.retryAfter : undefined,
  };
}

/** Judge a refused upgrade: 429 and 5xx come back. No close came, so there is no close code. */
export function refused({ status, retryAfter }: Refusal): Down {
  const retry = status >= 500 || status === 429;
  const reason = retry ? "network_error" : "protocol_error";
  const message = `The server refused the connection with ${status}.`;
  return { ...failed(reason, message, retry), retryAfter };
}

/** Judge a failure that this side noticed. */
export function failed(reason: DisconnectReason, message: string, retry: boolean): Down {
  return { error: new ConnectionError(reason, message), retry };
}

/** Judge that this side gives up a connection which brings more than the handlers take. */
export function overwhelmed(): Down {
  const message = "Too many messages wait for the handlers.";
  return { ...failed("client_initiated", message, true), own: true };
}
