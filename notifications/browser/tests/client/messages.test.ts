/** What reaches the handlers of subscriptions. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { MessageErrorHandler, NotificationMessage } from "../../src/client/types.ts";
import { type Peer, message } from "./fake-server.ts";
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

describe("messages", () => {
  async function subscribed(
    handler: (message: NotificationMessage) => void | Promise<void>,
    options = {},
  ): Promise<Peer> {
    const peer = await world.connected();
    const subscription = world.client.subscribe("user.1.*", handler, options);
    await peer.subscribed("s1");
    await subscription.ready;
    return peer;
  }

  it("reach every handler whose pattern matches, once", async () => {
    const exact = recorder();
    const other = recorder();
    const wide = recorder();
    const peer = await subscribed(wide.handler);
    world.client.subscribe("user.1.orders", exact.handler);
    await peer.subscribed("s2");
    world.client.subscribe("user.2.*", other.handler);
    await peer.subscribed("s3");
    peer.send([message(11), message(12)]);
    peer.send(message(12));
    await world.caughtUp(peer);
    const both = [{ n: 11 }, { n: 12 }];
    expect([wide.got, exact.got, other.got]).toEqual([both, both, []]);
    expect(world.client.getStats().messagesReceived).toBe(2);
  });

  it("that share a batch with their subscription's confirmation are not lost", async () => {
    const { got, handler } = recorder();
    const peer = await world.connected();
    world.client.subscribe("user.1.*", handler);
    const { id } = await peer.expect("subscribe");
    peer.send([{ type: "subscribed", id, subscriptionId: "s1", topic: "user.1.*" }, message(11)]);
    await world.caughtUp(peer);
    expect(got).toEqual([{ n: 11 }]);
  });

  it("pass the filter or do not arrive", async () => {
    const { got, handler } = recorder();
    const filter = ({ payload }: NotificationMessage): boolean =>
      (payload as { n: number }).n % 2 === 0;
    const peer = await subscribed(handler, { filter });
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    expect(got).toEqual([{ n: 12 }]);
  });

  it.each([
    [
      "throws",
      (): void => {
        throw new Error("mine");
      },
    ],
    ["rejects", (): Promise<void> => Promise.reject(new Error("mine"))],
  ])("keep coming when a handler %s", async (_how, handler) => {
    const onError = vi.fn<MessageErrorHandler>();
    const { got, handler: healthy } = recorder();
    const peer = await subscribed(handler, { onError });
    world.client.subscribe("user.1.orders", healthy);
    await peer.subscribed("s2");
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    expect(onError.mock.calls.map(([error]) => error.message)).toEqual(["mine", "mine"]);
    expect(got).toHaveLength(2);
  });

  it("tell of a handler that throws without onError", async () => {
    const peer = await subscribed(() => {
      throw new Error("mine");
    });
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(world.heard()).toMatchObject([{ type: "handler_error", error: { message: "mine" } }]);
  });

  it("that cannot be read are reported", async () => {
    const peer = await subscribed(() => undefined);
    peer.sendText('{"type": "message"}');
    await world.caughtUp(peer);
    expect(world.heard()).toMatchObject([{ type: "unreadable_frame" }]);
  });

  it("of later protocols are ignored", async () => {
    const peer = await subscribed(() => undefined);
    peer.send({ type: "firework" });
    await world.caughtUp(peer);
    expect(world.heard()).toEqual([]);
  });
});
