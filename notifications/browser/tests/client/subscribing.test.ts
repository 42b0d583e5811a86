/** Subscriptions, from the asking to the end. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NotificationMessage } from "../../src/client/types.ts";
import { type Peer, complete, held, message } from "./fake-server.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

/** A handler that notes what it got. */
function recorder(): { got: unknown[]; handler: (message: NotificationMessage) => void } {
  const got: unknown[] = [];
  return { got, handler: (received) => got.push(received.payload) };
}

async function refuse(peer: Peer, type: string, error: Record<string, unknown>): Promise<void> {
  const { id } = await peer.expect(type);
  peer.send({ type: "error", id, message: "No.", temporary: false, ...error });
}

describe("subscribe", () => {
  it("is confirmed by the server", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    expect(await peer.subscribed("s1")).toMatchObject({ topic: "user.1.*" });
    await subscription.ready;
    expect(subscription.isActive()).toBe(true);
  });

  it("waits for a connection", async () => {
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    const peer = await world.connected();
    await peer.subscribed("s1");
    await subscription.ready;
  });

  it("sends the options that are the server's business", async () => {
    const peer = await world.connected();
    const options = { replayMissed: true, maxReplayAge: 5, filter: (): boolean => true };
    world.client.subscribe("user.1.*", () => undefined, options);
    const { options: sent } = await peer.expect("subscribe");
    expect(sent).toEqual({ replayMissed: true, maxReplayAge: 5 });
  });

  it("rejects `ready` with the server's words, and tells it as an event", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.2.*", () => undefined);
    await refuse(peer, "subscribe", { code: "RATE_LIMITED", retryAfter: 70, temporary: true });
    const error = { code: "RATE_LIMITED", message: "No.", retryAfter: 70, temporary: true };
    await expect(subscription.ready).rejects.toMatchObject(error);
    expect(subscription.isActive()).toBe(false);
    expect(world.events).toMatchObject([{ type: "subscription_ended", error }]);
  });

  it("refuses a bad pattern without asking the server", async () => {
    const subscription = world.client.subscribe("user..x", () => undefined);
    await expect(subscription.ready).rejects.toMatchObject({ code: "BAD_TOPIC" });
  });

  it("asks the server once for two handlers of one topic", async () => {
    const peer = await world.connected();
    const [first, second] = [recorder(), recorder()];
    const one = world.client.subscribe("user.1.*", first.handler);
    const two = world.client.subscribe("user.1.*", second.handler);
    await peer.subscribed("s1");
    await Promise.all([one.ready, two.ready]);
    one.unsubscribe();
    peer.send(message(11));
    await world.caughtUp(peer);
    expect([first.got, second.got]).toEqual([[], [{ n: 11 }]]);
    two.unsubscribe();
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
  });

  it("takes over what the server says it has already", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    const data = { subscriptionId: "s9" };
    await refuse(peer, "subscribe", { code: "ALREADY_SUBSCRIBED", data });
    await subscription.ready;
    subscription.unsubscribe();
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s9" });
  });

  it("ends when the server ends it", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    peer.send({ type: "unsubscribed", subscriptionId: "s1", code: "FORBIDDEN", reason: "Gone." });
    await world.caughtUp(peer);
    expect(subscription.isActive()).toBe(false);
    expect(world.heard()).toMatchObject([
      { type: "subscription_ended", error: { code: "FORBIDDEN", message: "Gone." } },
    ]);
  });
});

describe("what others begin", () => {
  const begun = (peer: Peer, topic: string): void => {
    const cursor = { epoch: "x1", offsets: {} };
    peer.send({ type: "subscribed", ...held("given", topic), options: {}, cursor });
  };

  it("waits for its handler, and is told", async () => {
    const peer = await world.connected();
    begun(peer, "user.1.*");
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(world.heard()).toMatchObject([{ type: "orphan", topic: "user.1.*" }]);
    const { got, handler } = recorder();
    const subscription = world.client.subscribe("user.1.*", handler);
    await subscription.ready;
    peer.send(message(12));
    await world.caughtUp(peer);
    expect(got).toEqual([{ n: 11 }, { n: 12 }]);
    subscription.unsubscribe();
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "given" });
  });

  it("and this client asks for as well is one subscription", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    const { id } = await peer.expect("subscribe");
    begun(peer, "user.1.*");
    const data = { subscriptionId: "given" };
    peer.send({ type: "error", id, code: "ALREADY_SUBSCRIBED", message: "", temporary: false, data });
    await subscription.ready;
    await world.caughtUp(peer);
    expect(world.heard()).toEqual([]);
    subscription.unsubscribe();
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "given" });
  });
});

describe("unsubscribe", () => {
  it("while the server is being asked takes effect when it answers", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    subscription.unsubscribe();
    await peer.subscribed("s1");
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    await subscription.ready;
  });

  it("while away is told to the server on return", async () => {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    peer.cut();
    await world.state("reconnecting");
    subscription.unsubscribe();
    world.clock.advance(1_000);
    const next = await world.server.peers.next();
    await next.accept({ subscriptions: [held("s1", "user.1.*")] });
    expect(await next.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.heard().filter((event) => event.type === "orphan")).toEqual([]);
  });

  it("that is refused for now, and not answered before a break, takes effect after it", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    subscription.unsubscribe();
    await refuse(peer, "unsubscribe", { code: "RATE_LIMITED", temporary: true, retryAfter: 9_000 });
    await world.caughtUp(peer);
    peer = await world.reconnect(peer);
    await peer.accept({ subscriptions: [held("s1", "user.1.*")] });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.heard().filter((event) => event.type === "orphan")).toEqual([]);
  });

  it("of more topics than are noted while away leaves orphans of the rest", async () => {
    for (let n = 0; n < 1_001; n += 1) {
      world.client.subscribe(`user.${n}`, () => undefined).unsubscribe();
    }
    const subscriptions = [held("s1", "user.999"), held("s2", "user.1000")];
    const peer = await world.connected({ subscriptions });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.heard()).toMatchObject([{ type: "orphan", topic: "user.1000" }]);
  });

  it("by an unknown id does nothing", () => {
    world.client.unsubscribe("nobody");
  });
});

describe("after a reconnection", () => {
  it("asks again for what the server did not answer", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.expect("subscribe");
    peer = await world.reconnect(peer);
    await peer.accept();
    await peer.subscribed("s1");
    await subscription.ready;
  });

  it("ends what was unsubscribed before the server answered", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.expect("subscribe");
    subscription.unsubscribe();
    peer = await world.reconnect(peer);
    await peer.accept({ subscriptions: [held("s1", "user.1.*")] });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.heard().filter((event) => event.type === "orphan")).toEqual([]);
  });

  it("while away ends what an answer was lost of, too", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.expect("subscribe");
    peer.cut(); // the server has it, and its answer is lost
    const { backoffDelay } = await world.state("reconnecting");
    subscription.unsubscribe();
    world.clock.advance(backoffDelay);
    peer = await world.server.peers.next();
    await peer.accept({ resumed: true, subscriptions: [held("s1", "user.1.*")] });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.events).not.toContainEqual(expect.objectContaining({ type: "orphan" }));
  });

  it("ends again what the server did not confirm as ended", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    subscription.unsubscribe();
    await peer.expect("unsubscribe");
    peer = await world.reconnect(peer);
    await peer.accept({ subscriptions: [held("s1", "user.1.*")] });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.heard().filter((event) => event.type === "orphan")).toEqual([]);
  });

  it("keeps what the server holds, and asks for the rest from where its handlers are", async () => {
    let peer = await world.connected();
    const [kept, lacking] = [recorder(), recorder()];
    world.client.subscribe("user.1.*", kept.handler);
    await peer.subscribed("s1");
    world.client.subscribe("user.2.*", lacking.handler, { replayMissed: true });
    await peer.answer("subscribe", { type: "subscribed", subscriptionId: "s2", topic: "user.1.*" });
    peer.send([complete({ id: 2 }), message(11), message(12, { topic: "user.2.a" })]);
    await world.caughtUp(peer);
    peer = await world.reconnect(peer);
    await peer.accept({ resumed: true, subscriptions: [held("s3", "user.1.*")] });
    peer.send([message(13, { replayed: true }), complete({ count: 1 })]);
    const { id, topic, options } = await peer.expect("subscribe");
    const since = { epoch: "x1", offsets: { "0": 12, "1": 0 } };
    expect([topic, options]).toEqual(["user.2.*", { since }]);
    peer.send([
      { type: "subscribed", id, subscriptionId: "s4", topic },
      message(12, { topic: "user.2.a", replayed: true }),
      message(14, { topic: "user.2.a", replayed: true }),
      complete({ id, count: 2 }),
      message(15, { topic: "user.2.a" }),
    ]);
    await world.caughtUp(peer);
    expect(kept.got).toEqual([{ n: 11 }, { n: 13 }]);
    expect(lacking.got).toEqual([{ n: 12 }, { n: 14 }, { n: 15 }]);
    expect(await peer.expect("verify")).toMatchObject({ subscriptionIds: ["s3", "s4"] });
  });

  it("begins anew what the server holds, where messages from before are asked for", async () => {
    world.client.subscribe("user.1.*", () => undefined, { since: { last: 3 } });
    world.client.subscribe("user.2.*", () => undefined);
    const subscriptions = [held("s1", "user.1.*"), held("s2", "user.2.*")];
    const peer = await world.connected({ subscriptions });
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    const { topic, options } = await peer.expect("subscribe");
    expect([topic, options]).toEqual(["user.1.*", { since: { last: 3 } }]);
  });

  it("asks again, later, where a lost subscription is refused for now", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    peer = await world.reconnect(peer);
    await peer.accept({ resumed: true });
    peer.send(complete());
    await refuse(peer, "subscribe", { code: "RATE_LIMITED", temporary: true, retryAfter: 70 });
    await world.caughtUp(peer);
    world.clock.advance(70);
    const { id } = await peer.subscribed("s2");
    peer.send(complete({ id }));
    await world.caughtUp(peer);
    expect(subscription.isActive()).toBe(true);
  });

  it("ends what the server says that it has not", async () => {
    let peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", () => undefined);
    await peer.subscribed("s1");
    await subscription.ready;
    peer = await world.reconnect(peer);
    await peer.accept({ resumed: true, subscriptions: [held("s1", "user.1.*")] });
    const inactive = [{ subscriptionId: "s1", code: "UNKNOWN_SUBSCRIPTION" }];
    await peer.answer("verify", { type: "verified", active: [], inactive });
    await world.caughtUp(peer);
    expect(subscription.isActive()).toBe(false);
    expect(world.heard()).toMatchObject([
      { type: "subscription_ended", error: { code: "UNKNOWN_SUBSCRIPTION" } },
    ]);
  });

  it("reports what the server holds and nobody wants, until somebody does", async () => {
    const peer = await world.connected({ subscriptions: [held("s7", "user.7.*")] });
    expect(world.events).toMatchObject([{ type: "orphan", topic: "user.7.*" }]);
    const subscription = world.client.subscribe("user.7.*", () => undefined);
    await subscription.ready;
    subscription.unsubscribe();
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s7" });
  });
});
