/** What tabs missed, and what they ask for again, over one connection that replays one at a time. */
import { describe, expect, it } from "vitest";
import type { Frame } from "./upstream.ts";
import { Tabs } from "./world.ts";

function heard(tabs: Tabs, type: string): Frame[] {
  return tabs.connection.heard.filter((frame) => frame["type"] === type);
}

describe("replays", () => {
  it("go to the tab that missed something, and to no other", async () => {
    const tabs = new Tabs();
    const [stays, returns] = [await tabs.subscribed("a.*"), await tabs.subscribed("a.*")];
    returns.reader.giveUp();
    tabs.upstream.publish("a.x");
    tabs.upstream.publish("a.y");
    await tabs.scheduler.drain();
    const ids = tabs.upstream.log.map(({ id }) => id);
    expect(stays.reader.got.get("a.*")).toEqual(ids);
    expect(returns.reader.got.get("a.*")).toEqual(ids);
    expect(returns.reader.frames.at(-1)).toMatchObject({
      type: "replay_complete",
      recovered: true,
      count: 2,
    });
    expect(returns.reader.frames.at(-1)).not.toHaveProperty("id");
    expect(heard(tabs, "replay")).toHaveLength(1);
  });

  it("wait for each other", async () => {
    const tabs = new Tabs();
    const all = [];
    for (const topic of ["a.x", "a.y", "b.z"]) all.push(await tabs.subscribed(topic));
    for (const { reader } of all) reader.giveUp();
    for (const topic of ["a.x", "a.y", "b.z"]) tabs.upstream.publish(topic);
    await tabs.scheduler.drain();
    for (const { reader } of all) expect([...reader.got.values()].flat()).toHaveLength(1);
    expect(tabs.connection.heard.filter(({ code }) => code === "RATE_LIMITED")).toEqual([]);
  });

  it("are asked for again when the server is asked too often", async () => {
    const tabs = new Tabs();
    const tab = await tabs.subscribed("a.x");
    const { connection } = tabs;
    const { say } = connection;
    connection.say = (frame) => {
      if (frame["type"] !== "replay_complete") return say.call(connection, frame);
      connection.say = say;
      const { id } = frame;
      connection.say({ type: "error", id, code: "RATE_LIMITED", message: "", retryAfter: 3_000 });
    };
    await tabs.open();
    tab.reader.giveUp();
    await tabs.scheduler.drain();
    expect(tab.reader.isReady).toBe(false);
    await tabs.pass(3_000);
    expect(tab.reader.isReady).toBe(true);
    expect(heard(tabs, "replay")).toHaveLength(2);
  });

  it("of a subscription that a tab names bring it alone", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.subscribed("a.x"), await tabs.subscribed("a.x")];
    const cursor = { epoch: "x1", offsets: { "0": 0, "1": 0 } };
    tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    const id = second.reader.request({
      type: "replay",
      cursor,
      subscriptionId: second.reader.topics.get("a.x"),
    });
    await tabs.scheduler.drain();
    expect(second.reader.frames.at(-1)).toMatchObject({ type: "replay_complete", id, count: 1 });
    expect(second.reader.got.get("a.x")).toHaveLength(2);
    expect(first.reader.got.get("a.x")).toHaveLength(1);
  });

  it("move no pong past what the tab has yet to get", async () => {
    const tabs = new Tabs();
    const tab = await tabs.subscribed("a.x");
    await tabs.open();
    tab.reader.giveUp();
    tabs.upstream.publish("a.x");
    while (tab.reader.frames.at(-1)?.["resumed"] !== true) await tabs.scheduler.step();
    tab.reader.send({ type: "ping", t: 1 });
    while (tab.reader.frames.at(-1)?.["type"] !== "pong") await tabs.scheduler.step();
    expect(tab.reader.isReady).toBe(false);
    expect(tab.reader.frames.at(-1)?.["cursor"]).toEqual({ epoch: "x1", offsets: {} });
  });
});

describe("a subscription that asks for what was before", () => {
  it("is the server's when no other tab has the topic", async () => {
    const tabs = new Tabs();
    await tabs.open();
    for (let count = 0; count < 3; count += 1) tabs.upstream.publish("a.x");
    const tab = await tabs.subscribed("a.x", { since: { epoch: "x1", offsets: { "0": 1 } } });
    expect(tab.reader.got.get("a.x")).toHaveLength(2);
    expect(tab.reader.frames.at(-1)).toMatchObject({ type: "replay_complete", id: 1, count: 2 });
  });

  it("begins at the tab's own place, not at the connection's", async () => {
    const tabs = new Tabs();
    await tabs.open();
    tabs.upstream.publish("a.x");
    await tabs.subscribed("a.x"); // the browser now knows a newer place
    const tab = await tabs.open();
    const missed = tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    tab.reader.subscribe("a.x", { replayMissed: true });
    await tabs.scheduler.drain();
    expect(tab.reader.got.get("a.x")).toEqual([missed.id]);
    expect(heard(tabs, "subscribe")).toHaveLength(1);
    expect(heard(tabs, "replay")).toHaveLength(1);
  });

  it("is had on a socket of its own when another tab's begins later", async () => {
    const tabs = new Tabs();
    const tab = await tabs.open();
    const missed = tabs.upstream.publish("a.x");
    await tabs.subscribed("a.x");
    tab.reader.subscribe("a.x", { since: { epoch: "x1", offsets: {} } });
    await tabs.scheduler.drain();
    expect(tab.reader.closes).toEqual([1012]);
    await tabs.pass(1_000);
    expect(tabs.upstream.open).toHaveLength(2);
    tab.reader.subscribe("a.x", { since: { epoch: "x1", offsets: {} } });
    await tabs.settle();
    expect(tab.reader.got.get("a.x")).toEqual([missed.id]);
  });

  it.each([{ filter: { exists: "payload.a" } }, { batch: { maxSize: 10 } }])(
    "or for %j goes its own way at once",
    async (options) => {
      const tabs = new Tabs();
      await tabs.open();
      const tab = await tabs.subscribed("a.x", options);
      await tabs.settle();
      expect(tab.reader.closes).toEqual([1012]);
      expect(tabs.upstream.open.map(({ clientId }) => clientId)).toContain(tab.reader.clientId);
      expect(heardNothing(tabs)).toBe(true);
    },
  );

  it("goes its own way when another tab has the topic with another age", async () => {
    const tabs = new Tabs();
    const first = await tabs.subscribed("a.x", { maxReplayAge: 1_000 });
    const second = await tabs.subscribed("a.x", { maxReplayAge: 1_000 });
    const third = await tabs.subscribed("a.x", { maxReplayAge: 2_000 });
    expect([first, second, third].map(({ reader }) => reader.closes)).toEqual([[], [], [1012]]);
  });
});

/** Whether no server was asked to subscribe. */
function heardNothing(tabs: Tabs): boolean {
  return tabs.upstream.open.every(({ heard }) => heard.every(({ type }) => type === "auth"));
}
