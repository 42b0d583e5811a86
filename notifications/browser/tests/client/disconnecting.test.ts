/** Ending a connection, at any time. */
import { afterEach, describe, expect, it } from "vitest";
import { createClient } from "../../src/client/client.ts";
import { ConnectionError } from "../../src/client/errors.ts";
import { complete, held } from "./fake-server.ts";
import { World } from "./world.ts";

let world: World;
afterEach(() => world.close());

describe("disconnect", () => {
  it("closes with 1000 and leaves no timer or listener", async () => {
    world = await World.open();
    const peer = await world.connected();
    await world.client.disconnect();
    expect(await peer.closed).toBe(1000);
    expect(world.client.getConnectionState()).toMatchObject({ reason: "client_initiated" });
    expect(world.clock.waiting).toBe(0);
    expect(world.wakeListeners).toBe(0);
  });

  it("ends an attempt, which rejects", async () => {
    world = await World.open();
    const outcome = world.client.connect();
    const refused = expect(outcome).rejects.toBeInstanceOf(ConnectionError);
    await world.server.peers.next();
    await world.client.disconnect();
    await refused;
  });

  it("ends a wait for a retry", async () => {
    world = await World.open();
    const peer = await world.connected();
    peer.cut();
    await world.state("reconnecting");
    await world.client.disconnect();
    expect(world.clock.waiting).toBe(0);
  });

  it("leaves the tabs that it shares with, as every final end does", async () => {
    world = await World.open();
    let left = 0;
    const leave = (): void => void (left += 1);
    const config = { url: world.server.url, auth: "token" };
    const client = createClient(config, { ...world.environment, leave });
    const outcome = client.connect();
    const refused = expect(outcome).rejects.toBeInstanceOf(ConnectionError);
    const peer = await world.server.peers.next();
    peer.close(4501);
    await refused;
    expect(left).toBe(1);
  });

  it("by who hears of an orphan leaves nothing behind: the next connection restores all", async () => {
    const subscriptions = [held("s7", "user.7.*"), held("s1", "user.1.*")];
    world = await World.open();
    const left = new Promise<void>((resolve) => {
      const unlisten = world.client.onEvent(({ type }) => {
        if (type !== "orphan") return;
        unlisten();
        resolve(world.client.disconnect());
      });
    });
    const wanted = world.client.subscribe("user.2.*", () => undefined);
    world.client.connect().catch(() => undefined);
    await (await world.server.peers.next()).accept({ subscriptions });
    await left;
    expect(world.clock.waiting).toBe(0);
    const published = world.client.publish("user.2.a", 1);
    void world.client.connect();
    const peer = await world.server.peers.next();
    await peer.accept({ resumed: true, subscriptions });
    peer.send(complete());
    expect(await peer.subscribed("s2")).toMatchObject({ topic: "user.2.*" });
    await wanted.ready;
    await peer.expect("verify");
    const timestamp = "2026-01-01T00:00:00.000Z";
    await peer.answer("publish", { type: "published", messageId: "m", topic: "user.2.a", timestamp });
    await published;
  });

  it("from within a listener is respected", async () => {
    world = await World.open();
    let impatient = true;
    world.client.onStateChange((state) => {
      if (state.status === "connected" && impatient) void world.client.disconnect();
    });
    const outcome = world.client.connect();
    const refused = expect(outcome).rejects.toMatchObject({ reason: "client_initiated" });
    await (await world.server.peers.next()).accept();
    await refused;
    expect(world.client.getConnectionState().status).toBe("disconnected");
    impatient = false;
    const subscription = world.client.subscribe("user.1", () => undefined);
    await (await world.connected()).subscribed("s1");
    await subscription.ready;
  });

  it("can be followed by another connection", async () => {
    world = await World.open();
    await world.connected();
    await world.client.disconnect();
    await world.connected();
    expect(world.client.getConnectionState().status).toBe("connected");
  });
});
