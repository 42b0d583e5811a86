/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import { beforeEach, expect, it } from "vitest";
import { Core } from "../../src/client/core.ts";
import type { Cursor, Position } from "../../src/client/cursor.ts";
import { decode } from "../../src/client/decode.ts";
import type { Environment } from "../../src/client/environment.ts";
import type { RequestId, ServerFrame } from "../../src/client/frames.ts";
import { LocalSubscription } from "../../src/client/subscription.ts";
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
let core: Core;

beforeEach(() => {
  handled = [];
  unfinished = [];
  holding = false;
  const nothing = (): void => undefined;
  const surroundings = { ...unused(), after: () => nothing, now: () => 0, elapsed: () => 0 };
  core = new Core({ url: "ws://nowhere", auth: "token" }, surroundings);
  core.link.send = (frame) => {
    if (frame.type === "replay") lastReplay = frame.id;
  };
  const handler = ({ position }: { position?: Position }): void | Promise<void> => {
    handled.push(position ?? null);
    if (holding) return new Promise((resolve) => unfinished.push(resolve));
  };
  const identity = { id: "local", topic: "user.**", createdAt: new Date(0) };
  core.subscriptions.add(new LocalSubscription(identity, handler, {}, core));
});

/** Surroundings that nobody looks at. */
function unused(): Environment {
  const never = (): never => {
    throw new Error("not used");
  };
  return {
    kind: "browser",
    now: never,
    elapsed: never,
    after: never,
    random: never,
    newId: never,
    open: never,
    storage: never,
    claim: never,
    onWake: never,
    onHide: never,
    debug: never,
    complain: () => undefined,
  };
}

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
      expect(core.progress.cursor()).toEqual(step["cursor"]);
    } else {
      const frame = read(step);
      if (frame.type === "auth_success") {
        if ("asks" in step) expect(core.progress.cursor()).toEqual(step["asks"]);
        if (connections > 0) {
          core.lost();
        }
        core.inbox.accepted(frame, connections > 0);
        connections += 1;
      } else {
        core.inbox.take(frame);
      }
    }
    await settled();
  }
  expect(handled).toEqual(wanted);
  expect(core.progress.cursor()).toEqual(cursor);
});
