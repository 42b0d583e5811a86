/** Publishes: on a connection, without one, and across its loss. */
import { afterEach, describe, expect, it } from "vitest";
import { createClient } from "../../src/client/client.ts";
import { NotificationError } from "../../src/client/errors.ts";
import type { PublishedMessage } from "../../src/client/types.ts";
import type { Frame, Peer } from "./fake-server.ts";
import { World, settled } from "./world.ts";

let world: World;
afterEach(() => world.close());

async function answer(peer: Peer, overrides: Frame = {}): Promise<Frame> {
  const frame = await peer.expect("publish");
  peer.send({
    type: "published",
    id: frame["id"],
    messageId: "m1",
    topic: frame["topic"],
    timestamp: "2026-01-01T00:00:00.000Z",
    ...overrides,
  });
  return frame;
}

async function refuse(peer: Peer, error: Frame): Promise<Frame> {
  const frame = await peer.expect("publish");
  peer.send({ type: "error", id: frame["id"], message: "No.", temporary: false, ...error });
  return frame;
}

/** The outcome as a value: the error's code, or what was published. */
function outcome(promise: Promise<PublishedMessage>): Promise<unknown> {
  return promise.catch((error: unknown) => (error as { code?: string }).code ?? error);
}

describe("publish", () => {
  it("resolves with the message's place", async () => {
    world = await World.open();
    const peer = await world.connected();
    const expiresAt = new Date("2026-02-01T00:00:00.000Z");
    const done = world.client.publish("user.1.orders", { a: 1 }, { priority: "high", expiresAt });
    const frame = await answer(peer, { seq: 4, position: [0, 9], duplicate: true });
    expect(frame).toMatchObject({
      topic: "user.1.orders",
      payload: { a: 1 },
      metadata: { priority: "high", expiresAt: "2026-02-01T00:00:00.000Z" },
      idempotencyKey: expect.any(String) as string,
    });
    expect(await done).toEqual({
      id: "m1",
      topic: "user.1.orders",
      timestamp: new Date("2026-01-01T00:00:00.000Z"),
      seq: 4,
      position: [0, 9],
      duplicate: true,
    });
    expect(world.client.getStats().messagesSent).toBe(1);
  });

  it("refuses what the server could not read, and sends nothing of it", async () => {
    world = await World.open();
    const waiting = world.client.publish("a", "half of an emoji: \ud83d");
    expect(await outcome(waiting)).toBe("BAD_FRAME");
    const peer = await world.connected();
    expect(await outcome(world.client.publish("a", { big: 1n }))).toBe("BAD_FRAME");
    const whole = world.client.publish("a", "whole");
    expect(await answer(peer)).toMatchObject({ payload: "whole" });
    await whole;
  });

  it("refuses an invalid date, which JSON would make none", async () => {
    world = await World.open();
    const expiresAt = new Date("tomorrow, or so");
    await expect(world.client.publish("a", 1, { expiresAt })).rejects.toThrow(RangeError);
  });

  it("waits as long as it may, and is as old as it is, whatever the wall clock says", async () => {
    world = await World.open();
    let wall = 0;
    const environment = { ...world.environment, now: () => world.clock.now() + wall };
    const client = createClient({ url: world.server.url, auth: "token" }, environment);
    const connecting = client.connect();
    await (await world.server.peers.next()).accept();
    await connecting;
    world.clock.advance(70);
    wall = 1e9;
    expect(client.getStats().uptime).toBe(70);
    await client.disconnect();
    const waiting = outcome(client.publish("a", 1));
    wall = 2e9;
    void outcome(client.publish("a", 2)); // looks at the age of the first
    world.clock.advance(299_999);
    const early = await Promise.race([waiting, settled().then(() => "waits")]);
    expect(early).toBe("waits");
    world.clock.advance(1);
    expect(await waiting).toBe("EXPIRED");
  });

  it("sends the payload as it was when it was called", async () => {
    world = await World.open();
    const payload = { a: 1 };
    const done = world.client.publish("user.1", payload);
    payload.a = 2;
    const peer = await world.connected();
    expect(await answer(peer)).toMatchObject({ payload: { a: 1 } });
    await done;
  });

  it("rejects with the server's refusal", async () => {
    world = await World.open();
    const peer = await world.connected();
    const done = outcome(world.client.publish("user.1", 1));
    await refuse(peer, { code: "FORBIDDEN" });
    expect(await done).toBe("FORBIDDEN");
  });

  it.each([
    ["a pattern", "user.*", 1, "BAD_TOPIC"],
    [
      "a payload that the server would hang up on",
      "user.1",
      "é".repeat(40_000),
      "PAYLOAD_TOO_LARGE",
    ],
  ])("refuses %s by itself", async (_name, topic, payload, code) => {
    world = await World.open();
    expect(await outcome(world.client.publish(topic, payload))).toBe(code);
  });

  it("is sent again under the same key when the answer was lost, in order", async () => {
    world = await World.open();
    let peer = await world.connected();
    const done = Promise.all([1, 2, 3].map((n) => world.client.publish("user.1", n)));
    const first = [await peer.expect("publish"), await peer.expect("publish")];
    peer = await world.reconnect(peer);
    await peer.accept();
    const again = [await answer(peer), await answer(peer), await answer(peer)];
    await done;
    expect(again.map((frame) => frame["payload"])).toEqual([1, 2, 3]);
    expect(again.slice(0, 2)).toEqual(first);
    const keys = again.map((frame) => frame["idempotencyKey"]);
    expect(new Set(keys).size).toBe(3);
  });

  it("that was sent goes before one that waits, on the next connection", async () => {
    world = await World.open();
    let peer = await world.connected();
    const numbers = [...Array(80).keys()];
    const done = Promise.all(numbers.map((n) => world.client.publish("user.1", n)));
    await peer.expect("publish");
    peer = await world.reconnect(peer);
    await peer.accept({ resumed: true });
    for (const n of numbers) expect(await answer(peer)).toMatchObject({ payload: n });
    await done;
  });

  it("is sent again, in its place, after a refusal for now", async () => {
    world = await World.open();
    const peer = await world.connected();
    const done = Promise.all([1, 2].map((n) => world.client.publish("user.1", n)));
    await refuse(peer, { code: "RATE_LIMITED", temporary: true, retryAfter: 500 });
    await refuse(peer, { code: "RATE_LIMITED", temporary: true, retryAfter: 300 });
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
    world.clock.advance(500);
    expect(await answer(peer)).toMatchObject({ payload: 1 });
    expect(await answer(peer)).toMatchObject({ payload: 2 });
    await done;
  });

  it("keeps a bounded number unanswered", async () => {
    world = await World.open();
    const peer = await world.connected();
    const done = Promise.all([...Array(70).keys()].map((n) => world.client.publish("user.1", n)));
    const sent: Frame[] = [];
    for (let count = 0; count < 64; count += 1) sent.push(await peer.expect("publish"));
    expect(peer.frames.size).toBe(0);
    for (const frame of sent) {
      const { id, topic } = frame;
      peer.send({
        type: "published",
        id,
        topic,
        messageId: "m",
        timestamp: "2026-01-01T00:00:00Z",
      });
    }
    for (let count = 64; count < 70; count += 1) {
      expect(await answer(peer)).toMatchObject({ payload: count });
    }
    await done;
  });
});

describe("the queue", () => {
  const queue = { maxSize: 2, maxAge: 60_000 };

  it("throws at the call where it is full and told to reject", async () => {
    world = await World.open({ queueConfig: { ...queue, overflowStrategy: "reject" } });
    const kept = [1, 2].map((n) => outcome(world.client.publish("user.1", n)));
    expect(() => world.client.publish("user.1", 3)).toThrow(NotificationError);
    const peer = await world.connected();
    await answer(peer);
    await answer(peer);
    await Promise.all(kept);
  });

  it("waits until the subscriptions are there", async () => {
    world = await World.open();
    const done = world.client.publish("user.1", 1);
    world.client.subscribe("user.1", () => undefined);
    const peer = await world.connected();
    const { id } = await peer.expect("subscribe");
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
    peer.send({ type: "subscribed", id, subscriptionId: "s1", topic: "user.1.*" });
    await answer(peer);
    await done;
  });

  it("does not wait for ever for a subscription that is not answered for", async () => {
    world = await World.open();
    const done = world.client.publish("user.1", 1);
    world.client.subscribe("user.1", () => undefined);
    const peer = await world.connected();
    await peer.expect("subscribe");
    world.clock.advance(10_000);
    await answer(peer);
    await done;
  });

  it("is emptied when no connection will follow", async () => {
    world = await World.open();
    const peer = await world.connected();
    const done = outcome(world.client.publish("user.1", 1));
    await peer.expect("publish");
    await world.client.disconnect();
    expect(await done).toMatchObject({ reason: "client_initiated" });
    expect(world.clock.waiting).toBe(0);
  });
});
