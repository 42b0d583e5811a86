/** Filters that the server carries out: what may be sent of them, and when it is read. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { held } from "./fake-server.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

describe("serverFilter", () => {
  it.each([
    ["a BigInt", { eq: ["payload.price", 1n] }],
    ["half of an emoji", { eq: ["payload.name", "\ud83d"] }],
  ])("refuses a filter with %s, and nothing else suffers", async (_, serverFilter) => {
    const bad = world.client.subscribe("user.1.*", () => undefined, { serverFilter });
    await expect(bad.ready).rejects.toMatchObject({ code: "BAD_FRAME" });
    const good = world.client.subscribe("user.2.*", () => undefined);
    const peer = await world.connected();
    expect(await peer.subscribed("s1")).toMatchObject({ topic: "user.2.*" });
    await good.ready;
    const late = world.client.subscribe("user.1.*", () => undefined, { serverFilter });
    await expect(late.ready).rejects.toMatchObject({ code: "BAD_FRAME" });
    const again = await world.reconnect(peer);
    await again.accept(held("s1", "user.2.*"));
    await world.state("connected");
  });

  it("sends a filter as it was when it was given", async () => {
    const serverFilter = { eq: ["payload.price", 1] };
    world.client.subscribe("user.1.*", () => undefined, { serverFilter });
    serverFilter.eq[1] = 2;
    const peer = await world.connected();
    const frame = await peer.expect("subscribe");
    expect(frame["options"]).toEqual({ filter: { eq: ["payload.price", 1] } });
  });
});
