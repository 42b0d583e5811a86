/** How handlers are run: one message after the other, and what they may do meanwhile. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  NotificationMessage,
  Subscription,
  SubscriptionOptions,
} from "../../src/client/types.ts";
import { type Peer, complete, held, message } from "./fake-server.ts";
import { World, settled } from "./world.ts";

let world: World;
let peer: Peer;
let got: number[];
let finish: (() => void)[];

beforeEach(async () => {
  world = await World.open();
  peer = await world.connected();
  got = [];
  finish = [];
});
afterEach(() => world.close());

type Handler = (message: NotificationMessage) => void | Promise<void>;

function note({ payload }: NotificationMessage): void {
  got.push((payload as { n: number }).n);
}

function slowly(received: NotificationMessage): Promise<void> {
  note(received);
  return new Promise((resolve) => finish.push(resolve));
}

async function subscribe(
  handler: Handler,
  topic = "user.1.*",
  options: SubscriptionOptions = {},
): Promise<Subscription> {
  const subscription = world.client.subscribe(topic, handler, options);
  await peer.subscribed(`of ${topic}`);
  await subscription.ready;
  return subscription;
}

describe("a handler", () => {
  it("gets the next message when it has done with the last", async () => {
    await subscribe(slowly);
    peer.send([message(11), message(12), message(13)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11]);
    expect(world.client.getStats().waiting).toBe(2);
    finish.shift()?.();
    await settled();
    expect(got).toEqual([11, 12]);
  });

  it("does not wait for that of another subscription", async () => {
    await subscribe(slowly);
    await subscribe(note, "user.1.orders");
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 11, 12]);
  });

  it("that ends its own subscription gets nothing more, and holds up nothing", async () => {
    const subscription = await subscribe((received) => {
      note(received);
      subscription.unsubscribe();
    });
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11]);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 12 } });
  });

  it("that ends its subscription while others wait lets them go", async () => {
    const subscription = await subscribe(slowly);
    peer.send([message(11), message(12), message(13)]);
    await world.caughtUp(peer);
    subscription.unsubscribe();
    expect(world.client.getStats().waiting).toBe(0);
    finish.shift()?.();
    await settled();
    expect(got).toEqual([11]);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 13 } });
  });

  it("may subscribe, publish and disconnect", async () => {
    await subscribe(() => {
      world.client.subscribe("user.2", note);
      world.client.publish("user.3", 1).catch(() => undefined);
    });
    peer.send(message(11));
    await peer.subscribed("s2");
    await peer.expect("publish");
    await subscribe(() => void world.client.disconnect(), "user.1.orders");
    peer.send(message(12));
    expect(await world.state("disconnected")).toMatchObject({ reason: "client_initiated" });
  });

  it("may return what is no promise", async () => {
    // What an arrow function gives that only pushes to an array.
    const handler: unknown = (received: NotificationMessage) => got.push(Number(received.seq));
    await subscribe(handler as Handler);
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([11, 12]);
    expect(world.heard()).toEqual([]);
  });
});

describe("more messages than may wait", () => {
  it("drop the connection, which comes back when half are handled", async () => {
    let release: () => void = () => undefined;
    let blocked = true;
    await subscribe((received) => {
      note(received);
      return blocked ? new Promise((resolve) => (release = resolve)) : undefined;
    });
    for (let offset = 11; offset < 10_111; offset += 100) {
      peer.send([...Array(100).keys()].map((n) => message(offset + n)));
    }
    expect(await world.state("reconnecting")).toMatchObject({
      attempt: 1,
      lastError: { reason: "client_initiated" },
    });
    expect(world.client.getStats()).toMatchObject({ waiting: 10_001, circuit: "closed" });
    world.clock.advance(60_000);
    world.wake();
    expect(world.client.getConnectionState().status).toBe("reconnecting");
    blocked = false;
    release();
    await settled();
    const next = await world.server.peers.next();
    const auth = await next.accept({ resumed: true, subscriptions: [held("s1", "user.1.*")] });
    expect(auth["resume"]).toBeDefined();
    next.send([...Array(98).keys()].map((n) => message(10_013 + n, { replayed: true })));
    next.send(complete({ count: 98 }));
    await world.caughtUp(next);
    expect(got).toEqual([...Array(10_100).keys()].map((n) => 11 + n));
    expect(world.client.getStats().failures).toHaveLength(1);
  });
});

describe("two subscriptions to one topic", () => {
  it.each([
    { replayMissed: true },
    { maxReplayAge: 5 },
    { serverFilter: { exists: "payload.a" } },
  ])("that disagree in %j: the later is refused", async (options) => {
    const first = await subscribe(note);
    const second = world.client.subscribe("user.1.*", note, options);
    await expect(second.ready).rejects.toMatchObject({ code: "CONFLICT" });
    expect(first.isActive()).toBe(true);
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(got).toEqual([11]);
  });

  it("need not agree where they begin: that concerns the first alone", async () => {
    await subscribe(note);
    await world.client.subscribe("user.1.*", note, { since: { last: 3 } }).ready;
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(got).toEqual([11, 11]);
  });

  it("may have filters and batches of their own", async () => {
    await subscribe(note);
    const options = { filter: () => false, batch: { maxSize: 5 } };
    await world.client.subscribe("user.1.*", note, options).ready;
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(got).toEqual([11]);
  });

  it("are free to differ once the first has ended, even unanswered", async () => {
    const first = world.client.subscribe("user.1.*", note);
    first.unsubscribe();
    const second = world.client.subscribe("user.1.*", note, { since: { last: 3 } });
    await peer.subscribed("s1");
    expect(await peer.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    const { options } = await peer.subscribed("s2");
    expect(options).toEqual({ since: { last: 3 } });
    await second.ready;
  });
});

describe("a listener of events", () => {
  it("can be removed", async () => {
    const heard: string[] = [];
    const remove = world.client.onEvent(({ type }) => heard.push(type));
    peer.send({ type: "error", code: "INTERNAL", message: "" });
    await world.caughtUp(peer);
    const before = heard.length;
    remove();
    peer.send({ type: "error", code: "INTERNAL", message: "" });
    await world.caughtUp(peer);
    expect(heard).toHaveLength(before);
  });
});
