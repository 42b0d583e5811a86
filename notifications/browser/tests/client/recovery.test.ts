/** The cursor, resuming, replays and gaps. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NotificationMessage, SubscriptionOptions } from "../../src/client/types.ts";
import { CURSOR, type Peer, held, message } from "./fake-server.ts";
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
  return [next, auth["resume"]];
}

function complete(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: "replay_complete", recovered: true, count: 0, cursor: CURSOR, ...overrides };
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
    expect(world.heard()).toEqual([{ type: "recovery", recovered: true, count: 2 }]);
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
    [peer] = await resume(peer, { resumed: true, ...HELD });
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
    expect(world.heard()).toEqual([
      { type: "recovery", recovered: false, count: 0, reason: "BAD_CURSOR" },
    ]);
  });
});

describe("a session that the server no longer knows", () => {
  it("is a recovery that failed", async () => {
    let peer = await subscribed(note);
    const cursor = { epoch: "x1", offsets: { "0": 40, "1": 0 } };
    [peer] = await resume(peer, { sessionId: "session-2", cursor, ...HELD });
    await world.caughtUp(peer);
    expect(world.heard()).toEqual([
      { type: "recovery", recovered: false, count: 0, reason: "SESSION_LOST" },
    ]);
    const [, asked] = await resume(peer, { resumed: true, ...HELD });
    expect(asked).toEqual({ sessionId: "session-2", cursor });
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
      message(9, { replayed: true }),
      message(11),
    ]);
    await world.caughtUp(peer);
    expect(mine).toEqual([{ n: 9 }, { n: 9 }, { n: 11 }]);
    expect(got).toEqual([9, 11]);
    expect(world.heard()).toEqual([
      { type: "recovery", recovered: true, count: 1, topic: "user.1.orders" },
    ]);
  });
});

describe("a subscription's replay that the connection cuts off", () => {
  const CUT_OFF = {
    type: "recovery",
    recovered: false,
    count: 0,
    reason: "CONNECTION_LOST",
    topic: "user.1.orders",
  };
  const mine = { subscriptions: [...HELD.subscriptions, held("s2", "user.1.orders")] };

  function ask(): void {
    world.client.subscribe("user.1.orders", () => undefined, { replayMissed: true });
  }

  it("before its answer is told", async () => {
    let peer = await subscribed(note);
    ask();
    await peer.expect("subscribe");
    [peer] = await resume(peer, { resumed: true, ...mine });
    peer.send(complete());
    await world.caughtUp(peer);
    expect(world.heard()).toEqual([CUT_OFF, { type: "recovery", recovered: true, count: 0 }]);
  });

  it("in the middle is told", async () => {
    let peer = await subscribed(note);
    ask();
    await peer.subscribed("s2");
    peer.send(message(9, { replayed: true }));
    await world.caughtUp(peer);
    [peer] = await resume(peer, { resumed: true, ...mine });
    peer.send(complete());
    await world.caughtUp(peer);
    expect(world.heard()).toEqual([CUT_OFF, { type: "recovery", recovered: true, count: 0 }]);
  });

  it("after its end is nothing to tell", async () => {
    let peer = await subscribed(note);
    ask();
    const { id } = await peer.subscribed("s2");
    peer.send(complete({ id, count: 0 }));
    await world.caughtUp(peer);
    [peer] = await resume(peer, { resumed: true, ...mine });
    peer.send(complete());
    await world.caughtUp(peer);
    expect(world.heard()).not.toContainEqual(CUT_OFF);
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
