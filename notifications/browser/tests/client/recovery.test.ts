/** The cursor, resuming, replays and gaps. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NotificationMessage, SubscriptionOptions } from "../../src/client/types.ts";
import { CURSOR, type Peer, complete, held, message } from "./fake-server.ts";
import { World } from "./world.ts";

let world: World;
let got: number[];
let finish: (() => void)[];

beforeEach(async () => {
  world = await World.open();
  got = [];
  finish = [];
});
afterEach(() => world.close());

const HELD = { subscriptions: [held("s1", "user.1.*")] };

function note({ payload }: NotificationMessage): void {
  got.push((payload as { n: number }).n);
}

/** Note it, and end when the test says so. */
function slowly(received: NotificationMessage): Promise<void> {
  note(received);
  return new Promise((resolve) => finish.push(resolve));
}

async function subscribed(
  handler: (message: NotificationMessage) => void | Promise<void>,
  options: SubscriptionOptions = {},
): Promise<Peer> {
  const peer = await world.connected();
  const subscription = world.client.subscribe("user.1.*", handler, options);
  await peer.subscribed("s1");
  await subscription.ready;
  return peer;
}

/** Reconnect, and give back what the client asked to resume. */
async function resume(peer: Peer, answer: Record<string, unknown>): Promise<[Peer, unknown]> {
  const next = await world.reconnect(peer);
  const auth = await next.accept(answer);
  await world.state("connected");
  await next.expect("verify");
  return [next, auth["resume"]];
}

describe("the cursor", () => {
  it("begins where the server says, even if nothing ever came", async () => {
    const peer = await subscribed(note);
    const [, asked] = await resume(peer, HELD);
    expect(asked).toEqual({ sessionId: "session-1", cursor: CURSOR });
  });

  it("follows messages and pongs", async () => {
    let peer = await subscribed(note);
    peer.send([message(11), message(12)]);
    peer.send({ type: "pong", cursor: { epoch: "x1", offsets: { "1": 4 } } });
    await world.caughtUp(peer);
    let asked: unknown;
    [peer, asked] = await resume(peer, { resumed: true, ...HELD });
    expect(asked).toMatchObject({ cursor: { epoch: "x1", offsets: { "0": 12, "1": 4 } } });
  });

  it("does not pass a message whose handler runs", async () => {
    const peer = await subscribed(slowly);
    peer.send([message(11), message(12)]);
    peer.send({ type: "pong", cursor: { epoch: "x1", offsets: { "0": 20 } } });
    await world.caughtUp(peer);
    finish[1]?.();
    const [, asked] = await resume(peer, { resumed: true, ...HELD });
    expect(asked).toMatchObject({ cursor: { offsets: { "0": 10 } } });
  });

  it("goes where a gap says, also back", async () => {
    const peer = await subscribed(note);
    const cursor = { epoch: "x2", offsets: { "0": 3 } };
    peer.send([message(11), { type: "gap", reason: "EPOCH_CHANGED", cursor }, message(4)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 4]);
    expect(world.heard()).toEqual([{ type: "gap", reason: "EPOCH_CHANGED", cursor }]);
    const [, asked] = await resume(peer, { resumed: true, ...HELD });
    expect(asked).toMatchObject({ cursor: { epoch: "x2", offsets: { "0": 4 } } });
  });
});

describe("a resumed session", () => {
  it("brings what was missed, in order and once, and then says so", async () => {
    let peer = await subscribed(note);
    peer.send(message(11));
    await world.caughtUp(peer);
    [peer] = await resume(peer, { resumed: true, ...HELD });
    peer.send([
      message(11, { replayed: true }),
      message(12, { replayed: true }),
      complete({ count: 2, cursor: { epoch: "x1", offsets: { "0": 12, "1": 0 } } }),
      message(13),
    ]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 12, 13]);
    expect(world.heard()).toEqual([{ type: "recovered", count: 2 }]);
  });

  it("does not hand a message again to a handler that still runs", async () => {
    let peer = await subscribed(slowly);
    peer.send(message(11));
    await world.caughtUp(peer);
    [peer] = await resume(peer, { resumed: true, ...HELD });
    peer.send([message(11, { replayed: true }), complete({ count: 1 })]);
    await world.caughtUp(peer);
    expect(got).toEqual([11]);
  });

  it.each([
    ["replayMissed: false", { replayMissed: false }],
    ["maxReplayAge", { maxReplayAge: 1 }],
  ])("keeps replayed messages from a subscription with %s", async (_name, options) => {
    let peer = await subscribed(note, options);
    const subscriptions = [{ ...held("s1", "user.1.*"), options }];
    [peer] = await resume(peer, { resumed: true, subscriptions });
    peer.send([message(11, { replayed: true }), complete(), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([12]);
  });

  it("that could not recover says so and goes on from the server's place", async () => {
    let peer = await subscribed(note);
    peer.send(message(500));
    await world.caughtUp(peer);
    [peer] = await resume(peer, { resumed: true, ...HELD });
    peer.send([complete({ recovered: false, reason: "BAD_CURSOR" }), message(11)]);
    await world.caughtUp(peer);
    expect(got).toEqual([500, 11]);
    expect(world.heard()).toEqual([{ type: "gap", reason: "BAD_CURSOR", cursor: CURSOR }]);
  });
});

describe("a session that the server no longer knows", () => {
  const HEAD = { epoch: "x1", offsets: { "0": 40, "1": 0 } };
  const anew = { sessionId: "session-2", cursor: HEAD, ...HELD };

  it("is made up for by a replay from the client's own cursor; what comes live follows", async () => {
    let peer = await subscribed(note);
    peer.send(message(11));
    await world.caughtUp(peer);
    [peer] = await resume(peer, anew);
    const { id, cursor } = await peer.expect("replay");
    expect(cursor).toEqual({ epoch: "x1", offsets: { "0": 11, "1": 0 } });
    peer.send([message(41), message(30, { replayed: true })]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 30]);
    peer.send([complete({ id, count: 1, cursor: HEAD }), message(42)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 30, 41, 42]);
    expect(world.heard()).toEqual([{ type: "recovered", count: 1 }]);
  });

  it("is a gap where that replay is not whole", async () => {
    let peer = await subscribed(note);
    [peer] = await resume(peer, anew);
    const { id } = await peer.expect("replay");
    const whole = { recovered: false, reason: "TOO_MANY", cursor: HEAD };
    peer.send([message(41), complete({ id, ...whole }), message(42)]);
    await world.caughtUp(peer);
    expect(got).toEqual([41, 42]);
    expect(world.heard()).toEqual([{ type: "gap", reason: "SESSION_LOST", cursor: HEAD }]);
    const [, asked] = await resume(peer, { resumed: true, ...HELD });
    const cursor = { epoch: "x1", offsets: { "0": 42, "1": 0 } };
    expect(asked).toEqual({ sessionId: "session-2", cursor });
  });

  it("is a gap where that replay is refused for good, and asked again where it is for now", async () => {
    let peer = await subscribed(note);
    [peer] = await resume(peer, anew);
    const busy = { type: "error", code: "RATE_LIMITED", message: "", temporary: true };
    await peer.answer("replay", { ...busy, retryAfter: 70 });
    await world.caughtUp(peer);
    world.clock.advance(70);
    const never = { type: "error", code: "BAD_CURSOR", message: "", temporary: false };
    await peer.answer("replay", never);
    peer.send(message(41));
    await world.caughtUp(peer);
    expect(got).toEqual([41]);
    expect(world.heard()).toEqual([{ type: "gap", reason: "SESSION_LOST", cursor: HEAD }]);
  });

  it("is resumed where that replay is cut off: nothing is lost, and nothing comes twice", async () => {
    let peer = await subscribed(note);
    [peer] = await resume(peer, anew);
    await peer.expect("replay");
    peer.send([message(41), message(11, { replayed: true })]);
    await world.caughtUp(peer);
    let asked: unknown;
    [peer, asked] = await resume(peer, { resumed: true, ...HELD });
    const cursor = { epoch: "x1", offsets: { "0": 11, "1": 0 } };
    expect(asked).toEqual({ sessionId: "session-2", cursor });
    peer.send([
      message(12, { replayed: true }),
      message(41, { replayed: true }),
      complete({ count: 2, cursor: HEAD }),
    ]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 12, 41]);
  });

  it("is no news on the first connection", async () => {
    await subscribed(note);
    expect(world.heard()).toEqual([]);
  });
});

describe("a replay that a subscription asked for", () => {
  it("reaches its handlers alone, even where the cursor covers it", async () => {
    const peer = await subscribed(note);
    const mine: unknown[] = [];
    const options = { replayMissed: true };
    world.client.subscribe("user.1.orders", ({ payload }) => void mine.push(payload), options);
    const { id } = await peer.subscribed("s2");
    peer.send([
      message(9, { replayed: true }),
      complete({ id, count: 1 }),
      message(9, { replayed: true }), // an operator's redelivery
      message(11),
    ]);
    await world.caughtUp(peer);
    expect(mine).toEqual([{ n: 9 }, { n: 9 }, { n: 11 }]);
    expect(got).toEqual([9, 11]);
    expect(world.heard()).toEqual([{ type: "recovered", count: 1, topic: "user.1.orders" }]);
  });
});

describe("an operator's redelivery", () => {
  it("in the middle of a subscription's replay reaches those who want its topic", async () => {
    const peer = await subscribed(note);
    const mine: unknown[] = [];
    const options = { replayMissed: true };
    world.client.subscribe("user.1.orders", ({ payload }) => void mine.push(payload), options);
    await peer.subscribed("s2");
    peer.send(message(9, { replayed: true, topic: "user.1.other" }));
    await world.caughtUp(peer);
    expect(got).toEqual([9]);
    expect(mine).toEqual([]);
  });
});

describe("a replay asked for after a resume", () => {
  it("is not taken for the resume's", async () => {
    let peer = await subscribed(note);
    [peer] = await resume(peer, { resumed: true, ...HELD });
    peer.send(complete());
    await world.caughtUp(peer);
    const mine: unknown[] = [];
    const options = { replayMissed: true };
    world.client.subscribe("user.1.orders", ({ payload }) => void mine.push(payload), options);
    const { id } = await peer.subscribed("s2");
    peer.send([message(9, { replayed: true }), complete({ id, count: 1 })]);
    await world.caughtUp(peer);
    expect(mine).toEqual([{ n: 9 }]);
  });
});

describe("an ephemeral message", () => {
  it("has no place and always arrives", async () => {
    const peer = await subscribed(note);
    const ephemeral = message(1, { position: null, seq: null });
    peer.send([ephemeral, ephemeral]);
    await world.caughtUp(peer);
    expect(got).toEqual([1, 1]);
  });
});
