/** The replays that are owed to subscriptions: what they ask, and what their end means. */
import { type Cursor, CursorTrack } from "./cursor.ts";
import type { Entry } from "./entry.ts";
import { NotificationError } from "./errors.ts";
import type { ReplayComplete, SubscribeOptions } from "./frames.ts";
import { Place } from "./progress.ts";
import type { Owed } from "./replays.ts";
import type { SubscriptionsContext } from "./subscriptions-context.ts";
import type { LocalSubscription } from "./subscription.ts";
import type { ReplayResult } from "./types.ts";

export interface OwedContext {
  readonly parts: Pick<SubscriptionsContext, "events" | "inbox">;
  confirm(entry: Entry, subscriptionId: string): void;
  /** The server refused the subscription; true: ask again later. */
  refused(entry: Entry, error: NotificationError): boolean;
}

/** What a subscription asks for that was there before. */
export interface Restoring {
  readonly since: Cursor;
  /** Whether this is the rest of a replay that a reload cut off; otherwise the server lost it. */
  readonly isCutOff?: boolean;
  /** What its handlers have been given after that. */
  readonly brought?: CursorTrack | undefined;
}

/**
 * The replay with which a subscription begins (`since`, `replayMissed`), or begins anew.
 *
 * It goes out with the `subscribe`. Where that was confirmed and the replay cut off, it is asked
 * for again by `replay`, from the place where it had begun.
 */
export function beginning(entry: Entry, context: OwedContext, restoring?: Restoring): Owed {
  /** For another `subscribe`, when the server has lost what it had confirmed: it begins here. */
  let again = restoring?.since;
  /** For `replay`: where it began. */
  let begin = restoring?.isCutOff === true ? again : undefined;
  // The newest n of then are asked for anew where the server has lost what they bound.
  if (begin !== undefined && isNewest(entry.options.since)) again = undefined;
  const place = (entry.place = new Place());
  if (restoring !== undefined) place.reset(restoring.since);
  /** It was cut off, and can not be had again. */
  const lost = (): void => {
    context.parts.events.emit({ type: "gap", reason: "CONNECTION_LOST", topic: entry.topic });
  };
  const owed: Owed = {
    target: entry,
    segments: entry.segments,
    place,
    brought: restoring?.brought ?? new CursorTrack(),
    ask() {
      const { topic, heldId } = entry;
      if (heldId !== undefined) {
        if (begin !== undefined) {
          return { type: "replay", cursor: begin, subscriptionId: heldId };
        }
        entry.release(owed); // it was held before we asked: the resume brought what was missed
        return undefined;
      }
      entry.asking = true;
      const { replayMissed, ...rest } = entry.options;
      if (again !== undefined && entry.confirmed) {
        // The newest n of then can not be had again; what came after them can.
        if (begin !== undefined && begin !== again) lost();
        begin = again;
        return { type: "subscribe", topic, options: { ...rest, since: again } };
      }
      const { since } = rest;
      again = since === undefined || isNewest(since) ? context.parts.inbox.base : since;
      // The newest n begin where the subscription does, and the server knows where that is.
      begin = isNewest(since) ? { epoch: again.epoch, offsets: {} } : again;
      place.reset(begin);
      return { type: "subscribe", topic, options: entry.options };
    },
    subscribed({ subscriptionId }) {
      entry.asking = false;
      context.confirm(entry, subscriptionId);
    },
    done(frame) {
      // Offsets of another life compare with nothing: then what was held is all there is.
      if (frame.cursor.epoch !== begin?.epoch) owed.brought.reset(frame.cursor);
      entry.release(owed);
      context.parts.inbox.replayed(frame, entry.topic);
    },
    refused(error) {
      if (entry.heldId === undefined) {
        entry.asking = false;
        return context.refused(entry, error);
      }
      if (!error.temporary) owed.giveUp();
      return error.temporary;
    },
    giveUp() {
      owed.isOver = true;
      entry.release(owed);
      lost();
    },
  };
  return owed;
}

function isNewest(since: SubscribeOptions["since"]): since is { readonly last: number } {
  return (since as { last?: number } | undefined)?.last !== undefined;
}

/** A replay that the application asked for. */
export interface Asked {
  readonly cursor: Cursor;
  readonly maxReplayAge: number | undefined;
  /** Who gets it: one subscription, or all that there are. */
  readonly locals: readonly LocalSubscription[];
  /** The server's subscription; undefined: all. */
  readonly entry: Entry | undefined;
  resolve(result: ReplayResult): void;
  reject(error: Error): void;
}

export function askedFor(asked: Asked): Owed {
  const { cursor, maxReplayAge, locals, entry } = asked;
  const release = (): void => {
    for (const local of locals) local.release(owed);
  };
  const abandon = (error: Error): void => {
    owed.isOver = true;
    release();
    asked.reject(error);
  };
  const owed: Owed = {
    ...(entry === undefined ? {} : { target: locals[0], segments: entry.segments }),
    brought: new CursorTrack(),
    ask() {
      const subscriptionId = entry?.heldId;
      if (entry !== undefined && (subscriptionId === undefined || locals[0]?.isActive() !== true)) {
        abandon(new NotificationError("ENDED", "This subscription has ended."));
        return undefined;
      }
      return { type: "replay", cursor, subscriptionId, maxReplayAge };
    },
    done(frame: ReplayComplete) {
      if (frame.cursor.epoch !== cursor.epoch) owed.brought.reset(frame.cursor);
      owed.isOver = true;
      release();
      const { type, id, cursor: _, ...result } = frame;
      asked.resolve(result);
    },
    refused(error: NotificationError) {
      if (!error.temporary) abandon(error);
      return error.temporary;
    },
    giveUp() {
      abandon(new NotificationError("ENDED", "Too many messages wait for this replay."));
    },
    abandon,
  };
  for (const local of locals) local.hold(owed);
  return owed;
}
