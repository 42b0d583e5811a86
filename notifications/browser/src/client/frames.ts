/** The frames of docs/protocol.md that this client speaks. decode.ts makes the server's. */
import type { RetryPolicy } from "./backoff.ts";
import type { Cursor, Position } from "./cursor.ts";
import type { NotificationError } from "./errors.ts";
import type {
  BatchOptions,
  FilterTree,
  NotificationClientConfig,
  NotificationMessage,
} from "./types.ts";

export type RequestId = number | string;

export interface HeldSubscription {
  readonly subscriptionId: string;
  readonly topic: string;
  /** As subscribed; absent counts as none. */
  readonly options?: SubscribeOptions;
  readonly createdAt: Date;
}

export interface AuthSuccess {
  readonly type: "auth_success";
  readonly sessionId: string;
  readonly serverId: string;
  readonly resumed: boolean;
  readonly subscriptions: readonly HeldSubscription[];
  readonly cursor: Cursor;
  readonly heartbeat: { readonly interval: number; readonly timeout: number };
  /** `health`: how well the server is, in (0, 1]. */
  readonly retry?: RetryPolicy & { readonly health?: number };
  /** `frameBytes`: the largest frame that the server takes. */
  readonly limits?: { readonly frameBytes?: number };
  /** How long the token is good for, in milliseconds; absent where it does not expire. */
  readonly expiresIn?: number;
}

export interface Subscribed {
  readonly type: "subscribed";
  /** Absent when others began it. */
  readonly id?: RequestId;
  readonly subscriptionId: string;
  readonly topic: string;
}

export interface Published {
  readonly type: "published";
  readonly id: RequestId;
  readonly messageId: string;
  readonly topic: string;
  readonly timestamp: Date;
  readonly seq?: number;
  readonly position?: Position;
  readonly duplicate?: true;
}

export interface Unsubscribed {
  readonly type: "unsubscribed";
  /** Absent when the server decided. */
  readonly id?: RequestId;
  readonly subscriptionId: string;
  readonly code?: string;
  readonly reason?: string;
}

export interface ReplayComplete {
  readonly type: "replay_complete";
  readonly id?: RequestId;
  readonly recovered: boolean;
  readonly count: number;
  readonly cursor: Cursor;
  readonly reason?: string;
}

export interface Disconnect {
  readonly type: "disconnect";
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retryAfter?: number;
  readonly health?: number;
}

export interface Verified {
  readonly type: "verified";
  readonly id: RequestId;
  readonly inactive: readonly { readonly subscriptionId: string; readonly code: string }[];
}

export interface Refreshed {
  readonly type: "refreshed";
  readonly id: RequestId;
  readonly expiresIn?: number;
}

export interface ErrorFrame {
  readonly type: "error";
  readonly id?: RequestId | undefined;
  readonly error: NotificationError;
}

export type ServerFrame =
  | AuthSuccess
  | Subscribed
  | Unsubscribed
  | Published
  | ReplayComplete
  | Disconnect
  | ErrorFrame
  | Verified
  | Refreshed
  | { readonly type: "message"; readonly message: NotificationMessage }
  | { readonly type: "pong"; readonly t?: number; readonly cursor: Cursor }
  | {
      readonly type: "gap";
      readonly topic?: string;
      readonly reason: string;
      readonly cursor: Cursor;
    }
  | { readonly type: "token_expiring" };

type Kind = NonNullable<NotificationClientConfig["kind"]>;

/** Undefined fields are not sent: JSON leaves them out. */
export interface AuthFrame {
  readonly type: "auth";
  readonly token: string;
  readonly clientId: string;
  readonly capabilities: readonly string[];
  readonly client: { readonly name: string; readonly version: string; readonly kind: Kind };
  readonly resume: { readonly sessionId: string; readonly cursor: Cursor } | undefined;
  readonly attempt: number | undefined;
  readonly lastDisconnectReason: string | undefined;
  readonly batch: BatchOptions | undefined;
}

export interface SubscribeOptions {
  readonly replayMissed?: boolean | undefined;
  readonly maxReplayAge?: number | undefined;
  readonly since?: Cursor | { readonly last: number } | undefined;
  readonly filter?: FilterTree | undefined;
  readonly batch?: BatchOptions | undefined;
}

/** What goes to the server; a publish goes as text, see outbox.ts. */
export type ClientFrame =
  | AuthFrame
  | {
      readonly type: "subscribe";
      readonly id: RequestId;
      readonly topic: string;
      readonly options: SubscribeOptions | undefined;
    }
  | {
      readonly type: "replay";
      readonly id: RequestId;
      readonly cursor: Cursor;
      readonly subscriptionId?: string | undefined;
      readonly maxReplayAge?: number | undefined;
    }
  | { readonly type: "verify"; readonly id: RequestId; readonly subscriptionIds: string[] }
  | { readonly type: "unsubscribe"; readonly id: RequestId; readonly subscriptionId: string }
  | { readonly type: "refresh"; readonly id: RequestId; readonly token: string }
  | { readonly type: "ack"; readonly cursor: Cursor }
  | { readonly type: "ping"; readonly t: number };
