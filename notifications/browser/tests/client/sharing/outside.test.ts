/** Subscriptions that others begin for a browser, over REST: no tab has asked for them. */
import { describe, expect, it } from "vitest";
import { Tabs } from "./world.ts";

const asked = (tabs: Tabs): unknown[] =>
  tabs.upstream.connections.flatMap(({ heard }) => heard.map(({ type }) => type));

describe("what others begin", () => {
  it("reaches every tab, and ends with the last that wants it", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    const subscriptionId = tabs.upstream.give(tabs.connection.clientId, "a.x");
    await tabs.scheduler.drain();
    const { id } = tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    for (const { reader } of [first, second]) {
      expect(reader.topics).toEqual(new Map([["a.x", subscriptionId]]));
      expect(reader.got.get("a.x")).toEqual([id]);
      expect(asked(tabs)).not.toContain("unsubscribe");
      reader.request({ type: "unsubscribe", subscriptionId });
      await tabs.scheduler.drain();
    }
    expect(asked(tabs)).toContain("unsubscribe");
  });

  it("is ended for every tab by others as well", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    const subscriptionId = tabs.upstream.give(tabs.connection.clientId, "a.x");
    await tabs.scheduler.drain();
    tabs.connection.say({ type: "unsubscribed", subscriptionId });
    await tabs.scheduler.drain();
    for (const { reader } of [first, second]) {
      expect(reader.frames.at(-1)).toEqual({ type: "unsubscribed", subscriptionId });
    }
  });

  it("while the browser was away reaches the tabs that come back, and stays", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.subscribed("b.y")];
    const { clientId } = tabs.connection;
    tabs.connection.close(1006);
    const subscriptionId = tabs.upstream.give(clientId, "a.x");
    const missed = tabs.upstream.publish("a.x");
    await tabs.settle();
    await tabs.pass(30_000);
    expect(asked(tabs)).not.toContain("unsubscribe");
    const live = tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    for (const { reader } of [first, second]) {
      expect(reader.topics.get("a.x")).toBe(subscriptionId);
      expect(reader.got.get("a.x")).toEqual([missed.id, live.id]);
    }
    // A tab that comes later is another's matter.
    const third = await tabs.open();
    expect(third.reader.topics).toEqual(new Map());
  });
});
