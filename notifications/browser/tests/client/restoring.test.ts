/** What a restored subscription asks for: other options than before, or the rest of a replay. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/client/storage.ts";
import type { StateStorage } from "../../src/client/storage.ts";
import type { NotificationMessage, SubscriptionOptions } from "../../src/client/types.ts";
import { CURSOR, type Frame, type Peer, complete, held, message } from "./fake-server.ts";
import { World, settled } from "./world.ts";

let world: World;
let storage: StateStorage;
let got: number[];

beforeEach(async () => {
  storage = memoryStorage();
  world = await World.open({ storage });
  got = [];
});
afterEach(() => world.close());

function note({ payload }: NotificationMessage): void {
  got.push((payload as { n: number }).n);
}

async function stored(): Promise<Frame> {
  const text = await storage.get(`bellwether.${world.server.url}`);
  return JSON.parse(text ?? "{}") as Frame;
}

/** Another page in the place of the first. `options`: it subscribes with these before it connects. */
function reload(answer: Frame, options?: SubscriptionOptions): Promise<Peer> {
  world.hide();
  world.replace({ storage });
  if (options !== undefined) world.client.subscribe("user.1.*", note, options);
  return world.connected(answer);
}

describe("after a reload, a subscription whose options have changed", () => {
  const OLD = { subscriptions: [{ ...held("s1", "user.1.*"), options: { maxReplayAge: 9e9 } }] };
  const FILTER = { eq: ["payload.kind", { b: 1, a: 2 }] };

  /** Reload; the new page subscribes with these options before it connects. */
  async function changed(options: SubscriptionOptions, kept = OLD): Promise<Peer> {
    const peer = await world.connected();
    world.client.subscribe("user.1.*", note, { maxReplayAge: 9e9 });
    await peer.subscribed("s1");
    peer.send([message(11)]);
    await world.caughtUp(peer);
    return reload({ resumed: true, ...kept }, options);
  }

  it("is asked for anew from where the handlers were; nothing is lost or comes twice", async () => {
    const peer = await changed({ serverFilter: FILTER });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    peer.send([message(12, { replayed: true }), complete({ count: 1 }), message(13)]);
    const { id, options } = await peer.subscribed("s2");
    const since = { epoch: "x1", offsets: { "0": 11, "1": 0 } };
    expect(options).toEqual({ filter: FILTER, since });
    peer.send([message(12, { replayed: true }), message(13, { replayed: true })]);
    peer.send([complete({ id, count: 2 }), message(14)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 12, 13, 14]);
    expect(world.heard()).not.toContainEqual(expect.objectContaining({ type: "gap" }));
  });

  it("is asked for anew, and goes on from there when the page reloads in the middle", async () => {
    const peer = await changed({ maxReplayAge: 8e9 });
    await peer.expect("unsubscribe");
    peer.send([complete({ cursor: { epoch: "x1", offsets: { "0": 20, "1": 0 } } })]);
    await peer.subscribed("s2");
    peer.send(message(12, { replayed: true }));
    await world.caughtUp(peer);
    const options = { maxReplayAge: 8e9 };
    const HERE = { subscriptions: [{ ...held("s2", "user.1.*"), options }] };
    const next = await reload({ resumed: true, ...HERE }, options);
    await next.expect("verify");
    next.send(complete());
    const { cursor, subscriptionId } = await next.expect("replay");
    expect(cursor).toEqual({ epoch: "x1", offsets: { "0": 12, "1": 0 } });
    expect(subscriptionId).toBe("s2");
  });

  it("without what was missed begins anew", async () => {
    const peer = await changed({ replayMissed: false });
    await peer.expect("unsubscribe");
    expect((await peer.subscribed("s2"))["options"]).toEqual({ replayMissed: false });
  });

  it.each([
    ["names in another order", { serverFilter: FILTER }, { filter: { eq: ["payload.kind", { a: 2, b: 1 }] } }],
    ["null for nothing", {}, { filter: null, batch: null }],
    ["a beginning that is over", {}, { since: CURSOR, replayMissed: true }],
    ["more than is wanted", { replayMissed: false }, {}],
  ])("is left as it is for %s", async (_name, options, kept) => {
    const held1 = { ...held("s1", "user.1.*"), options: kept };
    const peer = await changed(options, { subscriptions: [held1] } as never);
    await peer.expect("verify");
  });

  it("is asked for anew when its handler comes late, with what waited for it", async () => {
    const peer = await world.connected();
    world.client.subscribe("user.1.*", note, { maxReplayAge: 9e9 });
    await peer.subscribed("s1");
    await world.caughtUp(peer);
    const next = await reload({ resumed: true, ...OLD });
    next.send([message(11, { replayed: true }), complete({ count: 1 }), message(12)]);
    await next.expect("verify");
    await world.caughtUp(next);
    world.client.subscribe("user.1.*", note, { serverFilter: FILTER });
    expect(await next.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    const { id, options } = await next.subscribed("s2");
    expect(options).toEqual({ filter: FILTER, since: CURSOR });
    next.send([message(12, { replayed: true }), complete({ id, count: 1 }), message(13)]);
    await world.caughtUp(next);
    expect(got).toEqual([12, 13]); // 11 is not what it wants
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 13 } });
  });
});

describe("after a reload, the replay with which a subscription began", () => {
  const SINCE = { since: { epoch: "x1", offsets: { "0": 2 } } };
  const MINE = { subscriptions: [{ ...held("s1", "user.1.*"), options: SINCE }] };
  const options = { ...SINCE, maxReplayAge: 9e9 };
  const KEPT = { subscriptions: [{ ...held("s1", "user.1.*"), options }] };

  async function cutOff(handler = note, wanted: SubscriptionOptions = SINCE): Promise<void> {
    const peer = await world.connected();
    world.client.subscribe("user.1.*", handler, wanted);
    await peer.subscribed("s1");
    peer.send([message(3, { replayed: true }), message(4, { replayed: true }), message(11)]);
    await world.caughtUp(peer);
  }

  it("goes on behind what its handler had; what came live follows", async () => {
    await cutOff();
    expect(got).toEqual([3, 4]);
    const peer = await reload({ resumed: true, ...MINE }, SINCE);
    await peer.expect("verify");
    peer.send([message(11, { replayed: true }), complete({ count: 1 })]);
    const { id, cursor, subscriptionId } = await peer.expect("replay");
    expect([cursor, subscriptionId]).toEqual([{ epoch: "x1", offsets: { "0": 4 } }, "s1"]);
    peer.send([message(5, { replayed: true }), message(11, { replayed: true })]);
    peer.send([complete({ id, count: 2 }), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([3, 4, 5, 11, 12]);
    world.hide();
    expect((await stored())["subscriptions"]).toEqual([
      expect.not.objectContaining({ replayFrom: expect.anything() as unknown }),
    ]);
  });

  it("goes on behind what a slow handler had ended", async () => {
    const finish: (() => void)[] = [];
    await cutOff((received) => {
      note(received);
      return new Promise<void>((resolve) => finish.push(resolve));
    });
    finish.shift()?.();
    await settled();
    world.hide();
    expect(got).toEqual([3, 4]);
    const replayFrom = { epoch: "x1", offsets: { "0": 3 } };
    expect(await stored()).toMatchObject({ subscriptions: [{ replayFrom }] });
  });

  it("waits for a handler that comes late, and holds what came meanwhile", async () => {
    await cutOff();
    const peer = await reload({ resumed: true, ...MINE });
    await peer.expect("verify");
    peer.send([message(11, { replayed: true }), complete({ count: 1 }), message(12)]);
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
    world.client.subscribe("user.1.*", note, SINCE);
    const { id } = await peer.expect("replay");
    const rest = [5, 11, 12].map((offset) => message(offset, { replayed: true }));
    peer.send([...rest, complete({ id, count: 3 }), message(13)]);
    await world.caughtUp(peer);
    expect(got).toEqual([3, 4, 5, 11, 12, 13]);
  });

  it("comes with the subscription where the server lost it, or holds another", async () => {
    for (const answer of [{}, KEPT]) {
      got = [];
      await cutOff();
      const peer = await reload({ resumed: true, ...answer }, SINCE);
      if (answer === KEPT) await peer.expect("unsubscribe");
      peer.send(complete());
      const { options: asked } = await peer.expect("subscribe");
      expect(asked).toEqual({ since: { epoch: "x1", offsets: { "0": 4 } } });
      await world.client.disconnect();
      storage = memoryStorage();
      world.replace({ storage });
    }
  });

  it("of the newest n is asked for as such where the server lost it", async () => {
    const newest = { since: { last: 3 } };
    await cutOff(note, newest);
    const peer = await reload({ resumed: true }, newest);
    peer.send(complete());
    expect(await peer.expect("subscribe")).toMatchObject({ options: newest });
  });

  it("goes on, of the newest n, where the server holds them", async () => {
    const newest = { since: { last: 3 } };
    await cutOff(note, newest);
    const peer = await reload({ resumed: true, subscriptions: [held("s1", "user.1.*")] }, newest);
    await peer.expect("verify");
    peer.send(complete());
    const cursor = { epoch: "x1", offsets: { "0": 4 } };
    expect(await peer.expect("replay")).toMatchObject({ cursor, subscriptionId: "s1" });
  });
});
