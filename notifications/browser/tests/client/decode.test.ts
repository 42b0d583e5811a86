import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode } from "../../src/client/decode.ts";
import type { ServerFrame } from "../../src/client/frames.ts";
import { type Frame, authSuccess, held, message } from "./fake-server.ts";

interface Decoded {
  frames: ServerFrame[];
  unknown: string[];
  unreadable: string[];
}

function read(data: unknown): Decoded {
  const out: Decoded = { frames: [], unknown: [], unreadable: [] };
  decode(data, {
    frame: (frame) => out.frames.push(frame),
    unknown: (type) => out.unknown.push(type),
    unreadable: (detail) => out.unreadable.push(detail),
  });
  return out;
}

function readOne(frame: Frame): ServerFrame | undefined {
  return read(JSON.stringify(frame)).frames[0];
}

const CURSOR = { epoch: "x1", offsets: { "0": 5 } };

/** One good frame of each type. */
const GOOD: Frame[] = [
  authSuccess({ subscriptions: [held("s1", "user.1")] }),
  message(1),
  { type: "subscribed", id: 1, subscriptionId: "s1", topic: "a.b" },
  { type: "unsubscribed", subscriptionId: "s1", code: "FORBIDDEN", reason: "revoked" },
  { type: "published", id: 1, messageId: "m", topic: "a", timestamp: "2026-01-01T00:00:00Z" },
  { type: "replay_complete", recovered: true, count: 2, cursor: CURSOR },
  { type: "pong", t: 1.5, cursor: CURSOR },
  { type: "gap", reason: "EPOCH_CHANGED", cursor: CURSOR },
  { type: "token_expiring", expiresIn: 60_000 },
  { type: "refreshed", id: 1, expiresIn: 900_000 },
  { type: "disconnect", code: 1012, reason: "drain", reconnect: true, retryAfter: 10 },
  { type: "error", id: "a", code: "FORBIDDEN", message: "no", temporary: false },
];

/** Fields without which the frame of this type is worth nothing. */
const REQUIRED: [string, string[]][] = [
  ["auth_success", ["sessionId", "serverId", "resumed", "subscriptions", "cursor", "heartbeat"]],
  ["message", ["id", "topic", "payload", "timestamp"]],
  ["subscribed", ["subscriptionId", "topic"]],
  ["unsubscribed", ["subscriptionId"]],
  ["published", ["id", "messageId", "topic", "timestamp"]],
  ["replay_complete", ["recovered", "count", "cursor"]],
  ["pong", ["cursor"]],
  ["gap", ["reason", "cursor"]],
  ["refreshed", ["id"]],
  ["disconnect", ["code", "reason", "reconnect"]],
  ["error", ["code", "message"]],
];
const MISSING = REQUIRED.flatMap(([type, keys]) => keys.map((key) => [type, key] as const));

function good(type: string): Frame {
  const frame = GOOD.find((one) => one["type"] === type);
  if (frame === undefined) throw new Error(type);
  return frame;
}

describe("decode", () => {
  it.each(GOOD)("reads $type", (frame) => {
    expect(readOne(frame)?.type).toBe(frame["type"]);
  });

  it.each(MISSING)("leaves out %s without %s, and says so", (type, key) => {
    const { [key]: _, ...rest } = good(type);
    const { frames, unreadable } = read(JSON.stringify(rest));
    expect(frames).toEqual([]);
    expect(unreadable).toHaveLength(1);
    expect(unreadable[0]).toContain(key);
  });

  it("gives a message as the application sees it", () => {
    const metadata = { priority: "high", expiresAt: "2026-01-02T00:00:00.000Z", source: "shop" };
    expect(readOne(message(7, { metadata, replayed: true }))).toEqual({
      type: "message",
      message: {
        id: "message-7",
        topic: "user.1.orders",
        payload: { n: 7 },
        timestamp: new Date("2026-01-01T00:00:00.000Z"),
        metadata: { ...metadata, expiresAt: new Date("2026-01-02T00:00:00.000Z") },
        seq: 7,
        position: [0, 7],
        replayed: true,
      },
    });
  });

  it("counts null as absent, except in a payload", () => {
    const frame = message(1, { payload: null, metadata: null, seq: null, position: null });
    const decoded = readOne({ ...frame, replayed: null });
    expect(decoded).toEqual({
      type: "message",
      message: {
        id: "message-1",
        topic: "user.1.orders",
        payload: null,
        timestamp: new Date("2026-01-01T00:00:00.000Z"),
      },
    });
  });

  it("keeps a message whose priority is of a later protocol", () => {
    const frame = readOne(message(1, { metadata: { priority: "cosmic", source: "a" } }));
    expect(frame).toMatchObject({ message: { metadata: { source: "a" } } });
  });

  it.each([
    [{ position: [0] }],
    [{ position: [0, -1] }],
    [{ position: "0" }],
    [{ seq: 1.5 }],
    [{ timestamp: "yesterday" }],
    [{ timestamp: 0 }],
    [{ metadata: [] }],
  ])("leaves out a message with %j", (wrong) => {
    expect(read(JSON.stringify(message(1, wrong))).unreadable).toHaveLength(1);
  });

  it.each([
    { epoch: 1, offsets: {} },
    { epoch: "x", offsets: { a: 1 } },
    { epoch: "x", offsets: { "0": -1 } },
  ])("leaves out a cursor like %j", (cursor) => {
    expect(read(JSON.stringify({ type: "pong", cursor })).unreadable).toHaveLength(1);
  });

  it("reads a batch in order, past what it cannot read", () => {
    const batch = [message(1), { type: "firework" }, { type: "pong" }, 7, message(2)];
    const { frames, unknown, unreadable } = read(JSON.stringify(batch));
    expect(frames.map((frame) => frame.type === "message" && frame.message.id)).toEqual([
      "message-1",
      "message-2",
    ]);
    expect(unknown).toEqual(["firework"]);
    expect(unreadable).toHaveLength(2);
  });

  it("survives whatever comes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constant(new ArrayBuffer(4))), (data) => {
        expect(() => read(data)).not.toThrow();
      }),
    );
  });

  it("survives frames with any value in any field", () => {
    const types = GOOD.map((frame) => frame["type"] as string);
    fc.assert(
      fc.property(fc.constantFrom(...types), fc.nat(), fc.jsonValue(), (type, pick, value) => {
        const frame = good(type);
        const keys = Object.keys(frame).filter((key) => key !== "type");
        const key = keys[pick % Math.max(1, keys.length)] ?? "extra";
        const { frames, unreadable } = read(JSON.stringify({ ...frame, [key]: value }));
        expect(frames.length + unreadable.length).toBe(1);
      }),
    );
  });
});
