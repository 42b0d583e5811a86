/**
 * What the tabs of a browser say to each other.
 *
 * All post to the common channel, where the leading tab listens; it posts to a channel that each
 * other tab has for itself.
 */
import { CloseCode } from "../codes.ts";
import type { Cursor } from "../cursor.ts";
import type { RequestId } from "../frames.ts";

/** Tabs with another version of this conversation, from before a deploy, do not share with us. */
export const VERSION = 1;

/** A frame of the protocol. What is not looked at here is passed on as it is. */
export interface Frame {
  readonly type: string;
  readonly id?: RequestId | undefined;
  readonly topic?: string;
  readonly cursor?: Cursor;
  readonly subscriptionId?: string;
  readonly code?: unknown;
  readonly reason?: unknown;
  readonly [key: string]: unknown;
}

/** What a tab subscribed to: topics and patterns, by the server's id of the subscription. */
export type Wishes = Map<string, string>;

/** What a tab keeps for the leading tab, so that any other can go on where one ended. */
export interface Kept {
  readonly sessionId: string;
  readonly wishes: readonly (readonly [id: string, topic: string])[];
}

/** `line`: the number of the tab's socket, so that nothing of an older one counts. */
export interface ToLeader {
  readonly from: string;
  readonly line: number;
  /** The first frame, and what was kept for it. */
  readonly hello?: string;
  readonly kept?: Kept | undefined;
  readonly text?: string;
  /** So many more frames have been read. */
  readonly read?: number;
  readonly closed?: true;
}

export interface ToTab {
  readonly line: number;
  readonly text?: string;
  readonly closed?: number;
  readonly kept?: Kept;
  /** What this tab wants can not be had over a shared socket. */
  readonly alone?: true;
}

/** Whoever takes the lead says so. */
export interface Announcement {
  readonly leader: string;
}

/** Said by no server: a tab connects again at once, and finds who has the connection then. */
export const FAREWELL = {
  type: "disconnect",
  code: CloseCode.SERVICE_RESTART,
  reason: "The connection that tabs share begins anew.",
  reconnect: true,
  retryAfter: 0,
};

/** Read a frame or a batch; what is neither is nothing. */
export function parse(text: unknown): readonly Frame[] {
  try {
    const value: unknown = JSON.parse(String(text));
    return (Array.isArray(value) ? value : [value]).filter(isFrame);
  } catch {
    return [];
  }
}

function isFrame(value: unknown): value is Frame {
  return typeof (value as Frame | null)?.type === "string";
}

/** Whether a cursor lies at or behind another in every partition, in one life of the log. */
export function isBehind(cursor: Cursor, other: Cursor): boolean {
  return (
    cursor.epoch === other.epoch &&
    Object.entries(cursor.offsets).every(([key, offset]) => offset <= (other.offsets[key] ?? 0))
  );
}

/** The place that all of these have reached; undefined where one has none or they do not compare. */
export function least([first, ...others]: readonly (Cursor | undefined)[]): Cursor | undefined {
  if (first === undefined || others.some((other) => other?.epoch !== first.epoch)) return undefined;
  const offsets: Record<string, number> = {};
  for (const [key, offset] of Object.entries(first.offsets)) {
    offsets[key] = Math.min(offset, ...others.map((other) => other?.offsets[key] ?? 0));
  }
  return { epoch: first.epoch, offsets };
}
