/** What the client tells of how far its handlers have come. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Frame, type Peer, complete, held, message } from "./fake-server.ts";
import { World } from "./world.ts";

const EVERY = 5_000;
const HELD = { subscriptions: [held("s1", "user.1.*")] };

let world: World;
let finish: (() => void)[];

beforeEach(async () => {
  world = await World.open({ acknowledge: true });
  finish = [];
  world.client.subscribe("user.1.*", () => undefined);
});
afterEach(() => world.close());

/** Every ack up to a ping that asks for an answer now. */
async function acks(peer: Peer): Promise<Frame[]> {
  const found: Frame[] = [];
  world.wake();
  for (;;) {
    const frame = await peer.frames.next();
    if (frame["type"] === "ping") break;
    if (frame["type"] === "ack") found.push(frame);
  }
  peer.send({ type: "pong", cursor: { epoch: "x1", offsets: {} } });
  await world.caughtUp(peer);
  return found;
}

function ack(offset: number): Frame {
  return { type: "ack", cursor: { epoch: "x1", offsets: { "0": offset, "1": 0 } } };
}

describe("an acknowledgement", () => {
  it("goes out on its timer when the cursor moved, and only then", async () => {
    const peer = await world.connected(HELD);
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([]);
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    world.clock.advance(EVERY - 1);
    expect(await acks(peer)).toEqual([]);
    world.clock.advance(1);
    expect(await acks(peer)).toEqual([ack(12)]);
    world.clock.advance(2 * EVERY);
    expect(await acks(peer)).toEqual([]);
  });

  it("does not pass a message whose handler runs", async () => {
    const slow = (): Promise<void> => new Promise((resolve) => finish.push(resolve));
    world.client.subscribe("user.1.orders", slow);
    const peer = await world.connected({
      subscriptions: [...HELD.subscriptions, held("s2", "user.1.orders")],
    });
    peer.send([message(11, { topic: "user.1.other" }), message(12), message(13)]);
    await world.caughtUp(peer);
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([ack(11)]);
    finish[0]?.();
    await world.caughtUp(peer);
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([ack(12)]);
  });

  it("goes out before a goodbye", async () => {
    const peer = await world.connected(HELD);
    peer.send(message(11));
    await world.caughtUp(peer);
    await world.client.disconnect();
    expect(await peer.expect("ack")).toEqual(ack(11));
    expect(await peer.closed).toBe(1000);
  });

  it("is told again to the server of the next connection, which may not have it", async () => {
    let peer = await world.connected(HELD);
    peer.send(message(11));
    await world.caughtUp(peer);
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([ack(11)]);
    peer = await world.reconnect(peer);
    await peer.accept({ resumed: true, cursor: ack(11)["cursor"], ...HELD });
    await world.state("connected");
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([ack(11)]);
  });

  it("is not made of the head at which a new session begins", async () => {
    let peer = await world.connected(HELD);
    peer = await world.reconnect(peer);
    const cursor = { epoch: "x1", offsets: { "0": 40, "1": 0 } };
    await peer.accept({ sessionId: "session-2", cursor, ...HELD });
    await peer.expect("verify");
    await peer.answer("replay", complete({ cursor }));
    await world.caughtUp(peer);
    world.clock.advance(EVERY);
    expect(await acks(peer)).toEqual([]);
  });

  it("waits for no timer while there is no connection", async () => {
    const peer = await world.connected(HELD);
    peer.cut();
    await world.state("reconnecting");
    expect(world.clock.waiting).toBe(1); // the retry
    await world.client.disconnect();
    expect(world.clock.waiting).toBe(0);
  });
});

describe("a client that was not told to acknowledge", () => {
  it("does not", async () => {
    world.client = world.newClient();
    const peer = await world.connected();
    peer.send(message(11));
    await world.caughtUp(peer);
    world.clock.advance(EVERY);
    await world.client.disconnect();
    expect(await peer.closed).toBe(1000);
    expect(peer.frames.size).toBe(0);
  });
});
