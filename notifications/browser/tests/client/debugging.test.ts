import { afterEach, expect, it } from "vitest";
import { message } from "./fake-server.ts";
import { World } from "./world.ts";

let world: World;
afterEach(() => world.close());

/** All that was written, as text. */
async function talk(debug: boolean): Promise<string> {
  world = await World.open({ debug, auth: () => Promise.resolve("a-secret-token") });
  const peer = await world.connected({ sessionId: "a-secret-session" });
  world.client.subscribe("user.1.*", () => undefined);
  await peer.subscribed("s1");
  const done = world.client.publish("user.1.orders", { card: "a-secret-payload" });
  await peer.answer("publish", {
    type: "published",
    messageId: "m1",
    topic: "user.1.orders",
    timestamp: "2026-01-01T00:00:00Z",
  });
  await done;
  peer.send(message(11, { payload: "a-secret-payload" }));
  await world.caughtUp(peer);
  peer.cut();
  await world.state("reconnecting");
  return JSON.stringify(world.debugged);
}

it("tells what happens, and never a token, a session or a payload", async () => {
  const text = await talk(true);
  for (const word of ["auth", "subscribe", "publish", "message-11", "connected", "reconnecting"]) {
    expect(text).toContain(word);
  }
  expect(text).not.toContain("a-secret");
});

it("says nothing where it was not asked to", async () => {
  expect(await talk(false)).toBe("[]");
});
