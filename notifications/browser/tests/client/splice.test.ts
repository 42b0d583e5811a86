/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import { beforeEach, expect, it } from "vitest";
import type { Cursor, Position } from "../../src/client/cursor.ts";
import { decode } from "../../src/client/decode.ts";
import { Events } from "../../src/client/events.ts";
import { Backlog } from "../../src/client/delivery.ts";
import type { ClientFrame, RequestId, ServerFrame } from "../../src/client/frames.ts";
import { Inbox } from "../../src/client/inbox.ts";
import { Progress } from "../../src/client/progress.ts";
import { Replays } from "../../src/client/replays.ts";
import { Requests } from "../../src/client/requests.ts";
import { Statistics } from "../../src/client/statistics.ts";
import { LocalSubscription } from "../../src/client/subscription.ts";
import { Subscriptions } from "../../src/client/subscriptions.ts";
import { type Frame, authSuccess, held, message } from "./fake-server.ts";

interface Row {
  name: string;
  frames: ("hold" | "release" | Frame)[];
  handled: (Position | null)[];
  cursor: Cursor;
}

const path = new URL("../../../../tests/vectors/splice.json", import.meta.url);
const { rows } = JSON.parse(readFileSync(path, "utf8")) as { rows: Row[] };

let handled: (Position | null)[];
let unfinished: (() => void)[];
let holding: boolean;
let lastReplay: RequestId | undefined;
let progress: Progress;
let replays: Replays;
let requests: Requests;
let subscriptions: Subscriptions;
let inbox: Inbox;

beforeEach(() => {
  handled = [];
  unfinished = [];
  holding = false;
  const nothing = (): void => undefined;
  const send = (frame: ClientFrame): void => {
    if (frame.type === "replay") lastReplay = frame.id;
  };
  progress = new Progress();
  requests = new Requests();
  replays = new Replays({ requests, send, after: () => nothing });
  subscriptions = new Subscriptions({
    requests,
    replays,
    send,
    after: () => nothing,
    base: () => inbox.base,
    emit: nothing,
    replayed: nothing,
    changed: nothing,
    restored: nothing,
  });
  const identity = { id: "local", topic: "user.**", createdAt: new Date(0) };
  const handler = ({ position }: { position?: Position }): void | Promise<void> => {
    handled.push(position ?? null);
    if (holding) return new Promise((resolve) => unfinished.push(resolve));
  };
  const context = { backlog: new Backlog(nothing), now: () => 0, failed: nothing, leave: nothing };
  subscriptions.add(new LocalSubscription(identity, handler, {}, context));
  inbox = new Inbox({
    events: new Events(nothing),
    progress,
    replays,
    requests,
    statistics: new Statistics(),
    subscriptions,
    now: () => 0,
    elapsed: () => 0,
    measured: nothing,
    refresh: nothing,
    overwhelmed: nothing,
  });
});

/** Complete a frame of the vectors, and read it as the client does. */
function read(frame: Frame): ServerFrame {
  const complete: Record<string, Frame> = {
    auth_success: authSuccess({ subscriptions: [held("s1", "user.**")] }),
    message: message(1, { position: null, seq: null }),
    replay_complete: { count: 0 },
  };
  const id = frame["answers"] === "replay" ? { id: lastReplay } : {};
  let found: ServerFrame | undefined;
  decode(JSON.stringify({ ...complete[String(frame["type"])], ...frame, ...id }), {
    frame: (one) => {
      found = one;
    },
    unknown: (type) => expect.fail(type),
    unreadable: (detail) => expect.fail(detail),
  });
  return found ?? expect.fail();
}

/** Let handlers that have finished be noticed. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

it.each(rows)("$name", async ({ frames, handled: wanted, cursor }) => {
  let connections = 0;
  for (const step of frames) {
    if (step === "hold") {
      holding = true;
    } else if (step === "release") {
      holding = false;
      for (const finish of unfinished.splice(0)) finish();
    } else if (step["type"] === undefined) {
      expect(progress.cursor()).toEqual(step["cursor"]);
    } else {
      const frame = read(step);
      if (frame.type === "auth_success") {
        if ("asks" in step) expect(progress.cursor()).toEqual(step["asks"]);
        if (connections > 0) {
          replays.suspend();
          subscriptions.suspend();
          requests.lose();
          inbox.lost();
        }
        inbox.accepted(frame, connections > 0);
        connections += 1;
      } else {
        inbox.take(frame);
      }
    }
    await settled();
  }
  expect(handled).toEqual(wanted);
  expect(progress.cursor()).toEqual(cursor);
});
