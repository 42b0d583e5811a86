/** Replays that were asked for: held messages, cut-offs, and one at a time. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NotificationMessage, SubscriptionOptions } from "../../src/client/types.ts";
import { CURSOR, type Frame, type Peer, complete, held, message } from "./fake-server.ts";
import { World } from "./world.ts";

const START = { epoch: "x1", offsets: { "0": 2 } };
const SINCE = { since: START };
const MINE = { subscriptions: [held("s1", "user.1.*")] };

let world: World;
let peer: Peer;
let got: number[];

beforeEach(async () => {
  world = await World.open();
  peer = await world.connected();
  got = [];
});
afterEach(() => world.close());

function note({ payload }: NotificationMessage): void {
  got.push((payload as { n: number }).n);
}

function replayed(...offsets: number[]): Frame[] {
  return offsets.map((offset) => message(offset, { replayed: true }));
}

/** Subscribe, and give back the request's id. */
async function subscribe(options: SubscriptionOptions, topic = "user.1.*"): Promise<unknown> {
  world.client.subscribe(topic, note, options);
  return (await peer.subscribed("s1"))["id"];
}

/** Lose the connection, and resume; gives back what the resume asked from. */
async function resume(answer: Frame = { resumed: true, ...MINE }): Promise<Frame> {
  peer = await world.reconnect(peer);
  const auth = await peer.accept(answer);
  await world.state("connected");
  return auth;
}

describe("a subscription's replay that is cut off", () => {
  it("is asked for again from where it began; nothing comes twice, and all in order", async () => {
    await subscribe(SINCE);
    peer.send(replayed(3, 4));
    await world.caughtUp(peer);
    await resume();
    await peer.expect("verify");
    peer.send([...replayed(11, 12), complete({ count: 2 })]);
    const { id, cursor, subscriptionId } = await peer.expect("replay");
    expect([cursor, subscriptionId]).toEqual([START, "s1"]);
    peer.send([message(13), ...replayed(3, 4, 5, 11, 12)]);
    peer.send([complete({ id, count: 5 }), message(14)]);
    await world.caughtUp(peer);
    expect(got).toEqual([3, 4, 5, 11, 12, 13, 14]);
    expect(world.heard()).toEqual([
      { type: "recovered", count: 2 },
      { type: "recovered", count: 5, topic: "user.1.*" },
    ]);
  });

  it("does not let the cursor pass what a slow handler has not done", async () => {
    const finish: (() => void)[] = [];
    const slowly = (): Promise<void> => new Promise((resolve) => finish.push(resolve));
    world.client.subscribe("user.1.*", slowly, SINCE);
    await peer.subscribed("s1");
    await resume();
    await peer.expect("verify");
    peer.send([...replayed(11), complete({ count: 1 })]);
    const { id } = await peer.expect("replay");
    peer.send([...replayed(11), complete({ id, count: 1 })]);
    await world.caughtUp(peer);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 10 } });
    finish.shift()?.();
    await world.caughtUp(peer);
    expect(finish).toEqual([]);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 11 } });
  });

  it("more than once is asked for until it is whole", async () => {
    await subscribe(SINCE);
    for (const offset of [3, 4]) {
      peer.send(replayed(offset));
      await world.caughtUp(peer);
      await resume();
      await peer.expect("verify");
      peer.send(complete());
      await peer.expect("replay");
    }
    await world.caughtUp(peer);
    peer.send([...replayed(3, 4, 5), complete({ id: 6, count: 3 })]);
    await world.caughtUp(peer);
    expect(got).toEqual([3, 4, 5]);
  });

  it("before it was confirmed is asked for with the subscription", async () => {
    world.client.subscribe("user.1.*", note, SINCE);
    await peer.expect("subscribe");
    await resume({ resumed: true });
    peer.send(complete());
    const { id, options } = await peer.subscribed("s1");
    expect(options).toEqual(SINCE);
    peer.send([...replayed(3), complete({ id, count: 1 })]);
    await world.caughtUp(peer);
    expect(got).toEqual([3]);
  });

  it("where only the confirmation was lost, is a replay", async () => {
    world.client.subscribe("user.1.*", note, SINCE);
    await peer.expect("subscribe");
    await resume();
    await peer.expect("verify");
    peer.send(complete());
    expect(await peer.expect("replay")).toMatchObject({ cursor: START, subscriptionId: "s1" });
  });

  it("of the newest n begins where the subscription does", async () => {
    await subscribe({ since: { last: 5 } });
    await resume();
    await peer.expect("verify");
    peer.send(complete());
    const cursor = { epoch: "x1", offsets: {} };
    expect(await peer.expect("replay")).toMatchObject({ cursor, subscriptionId: "s1" });
  });

  it("of what was missed begins at the last acknowledgement", async () => {
    await world.client.disconnect();
    world.replace({ acknowledge: true });
    peer = await world.connected();
    await subscribe({}, "user.1.orders");
    peer.send(message(11));
    await world.caughtUp(peer);
    world.clock.advance(5_000);
    await peer.expect("ack");
    await subscribe({ replayMissed: true });
    const both = [...MINE.subscriptions, held("s2", "user.1.orders")];
    await resume({ resumed: true, subscriptions: both });
    await peer.expect("verify");
    peer.send(complete());
    const cursor = { epoch: "x1", offsets: { "0": 11, "1": 0 } };
    expect(await peer.expect("replay")).toMatchObject({ cursor });
  });

  it("and is not to be had again is a gap, and what waited follows", async () => {
    await subscribe(SINCE);
    await resume();
    await peer.expect("verify");
    peer.send([complete(), message(13)]);
    const error = { type: "error", code: "INTERNAL", message: "", temporary: false };
    await peer.answer("replay", error);
    await world.caughtUp(peer);
    expect(got).toEqual([13]);
    const gap = { type: "gap", reason: "CONNECTION_LOST", topic: "user.1.*" };
    expect(world.heard()).toContainEqual(gap);
  });

  it("and is beyond retention now is a gap by that name", async () => {
    await subscribe(SINCE);
    peer.send(replayed(3));
    await world.caughtUp(peer);
    await resume();
    await peer.expect("verify");
    peer.send([complete(), message(13)]);
    const reason = { recovered: false, reason: "BEYOND_RETENTION" };
    await peer.answer("replay", complete(reason));
    await world.caughtUp(peer);
    expect(got).toEqual([3, 13]);
    const gap = { type: "gap", reason: "BEYOND_RETENTION", topic: "user.1.*", cursor: CURSOR };
    expect(world.heard()).toContainEqual(gap);
  });

  it("is forgotten with its subscription", async () => {
    await subscribe(SINCE);
    await resume();
    await peer.expect("verify");
    world.client.unsubscribe("subscription-1");
    expect((await peer.frames.next())["type"]).toBe("unsubscribe");
    peer.send(complete());
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
  });
});

describe("replays", () => {
  it("go one at a time, and after that of a resume", async () => {
    const id = await subscribe(SINCE);
    world.client.subscribe("user.2.*", note, SINCE);
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
    peer.send(complete({ id }));
    expect(await peer.expect("subscribe")).toMatchObject({ topic: "user.2.*" });
    await resume();
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0); // user.2.* waits, and so does the comparison
    peer.send(complete());
    await peer.expect("subscribe");
  });
});

describe("replay()", () => {
  it("brings what follows a cursor again, to one subscription; others wait for nothing", async () => {
    await subscribe({});
    const other: number[] = [];
    world.client.subscribe("user.1.orders", ({ seq }) => void other.push(Number(seq)));
    await peer.subscribed("s2");
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    const [subscription] = [world.client.subscribe("user.1.*", note)];
    await subscription.ready;
    got = [];
    const done = world.client.replay(START, { subscription, maxReplayAge: 9 });
    const frame = await peer.expect("replay");
    expect(frame).toMatchObject({ cursor: START, subscriptionId: "s1", maxReplayAge: 9 });
    peer.send([message(13), ...replayed(11, 12), complete({ id: frame["id"], count: 2 })]);
    expect(await done).toEqual({ recovered: true, count: 2 });
    await world.caughtUp(peer);
    // Both of user.1.* got 13; only the one that asked got 11 and 12, and before 13.
    expect(got).toEqual([13, 11, 12, 13]);
    expect(other).toEqual([11, 12, 13]);
    expect(world.heard()).toEqual([]);
  });

  it("of all goes to all, and tells why it is not whole", async () => {
    await subscribe({});
    const whole = world.client.replay(START);
    const { id, subscriptionId } = await peer.expect("replay");
    expect(subscriptionId).toBeUndefined();
    peer.send([...replayed(3, 4), complete({ id, count: 2 })]);
    expect(await whole).toEqual({ recovered: true, count: 2 });
    expect(got).toEqual([3, 4]);
    const partly = world.client.replay(START);
    await peer.answer("replay", complete({ recovered: false, reason: "TOO_MANY" }));
    expect(await partly).toEqual({ recovered: false, count: 0, reason: "TOO_MANY" });
  });

  it("is repeated when it is cut off, and nothing comes twice", async () => {
    await subscribe({});
    const done = world.client.replay(START);
    await peer.expect("replay");
    peer.send(replayed(3));
    await world.caughtUp(peer);
    await resume();
    await peer.expect("verify");
    peer.send(complete());
    const { id } = await peer.expect("replay");
    peer.send([...replayed(3, 4), complete({ id, count: 2 })]);
    await done;
    expect(got).toEqual([3, 4]);
  });

  it("is asked for again where it is refused for now, and rejects where it is for good", async () => {
    const done = world.client.replay(START);
    const busy = { type: "error", code: "RATE_LIMITED", message: "", temporary: true };
    await peer.answer("replay", { ...busy, retryAfter: 70 });
    await world.caughtUp(peer);
    world.clock.advance(70);
    await peer.answer("replay", { ...busy, temporary: false });
    await expect(done).rejects.toMatchObject({ code: "RATE_LIMITED" });
  });

  it("of a subscription that has ended rejects", async () => {
    const subscription = world.client.subscribe("user.1.*", note);
    await peer.subscribed("s1");
    subscription.unsubscribe();
    const done = world.client.replay(START, { subscription });
    await expect(done).rejects.toMatchObject({ code: "ENDED" });
  });

  it("rejects when no connection will follow, and what waited is given", async () => {
    await subscribe({});
    peer.cut();
    await world.state("reconnecting");
    const done = world.client.replay(START);
    const refused = expect(done).rejects.toMatchObject({ reason: "client_initiated" });
    await world.client.disconnect();
    await refused;
  });
});
