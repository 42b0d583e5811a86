/** Several tabs, one connection. */
import { describe, expect, it } from "vitest";
import type { Environment, SocketEvents } from "../../../src/client/environment.ts";
import { Switchboard } from "../../../src/client/sharing/switchboard.ts";
import type { ToTab } from "../../../src/client/sharing/wire.ts";
import type { Frame } from "./upstream.ts";
import { Tabs } from "./world.ts";

function typesOf(frames: readonly Frame[]): unknown[] {
  return frames.map(({ type }) => type);
}

describe("tabs of one user", () => {
  it("share a socket, which the server knows by one client's name", async () => {
    const tabs = new Tabs();
    const first = await tabs.open("ada:token-1");
    const second = await tabs.open("ada:token-2");
    const { heard, clientId, token } = tabs.connection;
    expect(typesOf(heard)).toEqual(["auth"]);
    expect(token).toBe("ada:token-1");
    expect([first.reader.clientId, second.reader.clientId]).not.toContain(clientId);
    expect(heard[0]).not.toHaveProperty("resume");
    const [one, other] = [first.reader.frames[0], second.reader.frames[0]];
    expect(one).toMatchObject({ type: "auth_success", resumed: false, subscriptions: [] });
    expect(one?.["sessionId"]).not.toBe(other?.["sessionId"]);
  });

  it("get each what they subscribed to, from one subscription at the server", async () => {
    const tabs = new Tabs();
    const first = await tabs.subscribed("a.x");
    const second = await tabs.subscribed("a.x");
    const third = await tabs.subscribed("b.y");
    const [x, y] = [tabs.upstream.publish("a.x"), tabs.upstream.publish("b.y")];
    await tabs.scheduler.drain();
    expect(first.reader.got).toEqual(new Map([["a.x", [x.id]]]));
    expect(second.reader.got).toEqual(new Map([["a.x", [x.id]]]));
    expect(third.reader.got).toEqual(new Map([["b.y", [y.id]]]));
    expect(typesOf(tabs.connection.heard)).toEqual(["auth", "subscribe", "subscribe"]);
  });

  it("subscribe at the same moment, and the second is given what the first got", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    first.reader.subscribe("a.x");
    second.reader.subscribe("a.x");
    await tabs.scheduler.drain();
    expect(second.reader.topics).toEqual(first.reader.topics);
    expect(typesOf(second.reader.frames)).toEqual(["auth_success", "subscribed"]);
  });

  it("unsubscribe at the server only when the last wants it no more", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.subscribed("a.x"), await tabs.subscribed("a.x")];
    const subscriptionId = first.reader.topics.get("a.x");
    for (const { reader } of [first, second]) {
      expect(typesOf(tabs.connection.heard)).not.toContain("unsubscribe");
      reader.request({ type: "unsubscribe", subscriptionId });
      await tabs.scheduler.drain();
      expect(reader.frames.at(-1)).toMatchObject({ type: "unsubscribed", id: 2, subscriptionId });
    }
    expect(typesOf(tabs.connection.heard)).toContain("unsubscribe");
    tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    expect(first.reader.got.get("a.x")).toEqual([]);
  });

  it("are released some time after they closed", async () => {
    const tabs = new Tabs();
    await tabs.open();
    const second = await tabs.subscribed("a.x");
    second.page.crash();
    await tabs.pass(9_000);
    expect(typesOf(tabs.connection.heard)).not.toContain("unsubscribe");
    await tabs.pass(12_000);
    expect(typesOf(tabs.connection.heard)).toContain("unsubscribe");
  });

  it("get their own answers", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    first.reader.request({ type: "publish", topic: "a.x" });
    second.reader.request({ type: "publish", topic: "b.y" });
    second.reader.request({ type: "refresh", token: "newer" });
    await tabs.scheduler.drain();
    expect(first.reader.frames.slice(1)).toMatchObject([{ type: "published", id: 1, topic: "a.x" }]);
    expect(second.reader.frames.slice(1)).toMatchObject([
      { type: "published", id: 1, topic: "b.y" },
      { type: "refreshed", id: 2 },
    ]);
    const ids = tabs.connection.heard.slice(1).map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
  });

  it("acknowledge together what all of them have", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    const acks = (): Frame[] => tabs.connection.heard.filter(({ type }) => type === "ack");
    first.reader.send({ type: "ack", cursor: { epoch: "x1", offsets: { "0": 5, "1": 2 } } });
    await tabs.scheduler.drain();
    expect(acks()).toEqual([]);
    second.reader.send({ type: "ack", cursor: { epoch: "x1", offsets: { "0": 3, "1": 4 } } });
    await tabs.scheduler.drain();
    expect(acks()).toEqual([{ type: "ack", cursor: { epoch: "x1", offsets: { "0": 3, "1": 2 } } }]);
  });

  it("are answered by the leading tab when they ping, with what the server said last", async () => {
    const tabs = new Tabs();
    const [, second] = [await tabs.open(), await tabs.open()];
    const before = tabs.upstream.heads();
    tabs.upstream.publish("a.unheard");
    second.reader.send({ type: "ping", t: 7 });
    await tabs.scheduler.drain();
    expect(second.reader.frames.at(-1)).toEqual({
      type: "pong",
      t: 7,
      cursor: { epoch: "x1", offsets: before },
    });
    second.reader.send({ type: "ping", t: 8 });
    await tabs.scheduler.drain();
    expect(second.reader.frames.at(-1)?.["cursor"]).toMatchObject({ offsets: { "0": 1 } });
  });

  it("hear of a close, all with its code, and come back over one socket", async () => {
    const tabs = new Tabs();
    const both = [await tabs.subscribed("a.x"), await tabs.subscribed("a.x")];
    const { connection } = tabs;
    connection.say({ type: "disconnect", code: 4409, reason: "slow", reconnect: true });
    connection.close(4409);
    await tabs.scheduler.drain();
    for (const { reader } of both) {
      expect(reader.frames.at(-1)).toMatchObject({ type: "disconnect", code: 4409 });
      expect(reader.closes).toEqual([4409]);
    }
    const missed = tabs.upstream.publish("a.x");
    await tabs.settle();
    expect(tabs.connection).not.toBe(connection);
    for (const { reader } of both) expect(reader.got.get("a.x")).toEqual([missed.id]);
  });

  it("lose the socket when the server stops answering, and say that it was that", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    tabs.connection.say = () => undefined; // still open, and silent
    second.reader.send({ type: "ping", t: 1 });
    await tabs.scheduler.drain();
    tabs.browser.clock.advance(5_000);
    await tabs.scheduler.drain();
    expect([first.reader.closes, second.reader.closes]).toEqual([[4408], [4408]]);
  });

  it("hear what the server ends", async () => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.subscribed("a.x"), await tabs.open()];
    const subscriptionId = first.reader.topics.get("a.x");
    tabs.connection.say({ type: "unsubscribed", subscriptionId, code: "FORBIDDEN" });
    await tabs.scheduler.drain();
    expect(first.reader.frames.at(-1)).toMatchObject({ code: "FORBIDDEN" });
    expect(typesOf(second.reader.frames)).toEqual(["auth_success"]);
  });

  it("measure the way to the server, not only that to the leading tab", async () => {
    const tabs = new Tabs();
    const [, second] = [await tabs.open(), await tabs.open()];
    second.reader.send({ type: "ping", t: 50 });
    while (second.reader.frames.at(-1)?.["type"] !== "pong") await tabs.scheduler.step();
    tabs.browser.clock.advance(300); // the server answers late
    await tabs.scheduler.drain();
    second.reader.send({ type: "ping", t: 1_000 });
    await tabs.scheduler.drain();
    expect(second.reader.frames.at(-1)).toMatchObject({ type: "pong", t: 700 });
  });

  it("are told that the token expires, and how long it is good for", async () => {
    const tabs = new Tabs();
    await tabs.open();
    await tabs.pass(60_000);
    const second = await tabs.open();
    expect(second.reader.frames[0]).toMatchObject({ expiresIn: 840_000 });
    tabs.connection.say({ type: "token_expiring", expiresIn: 60_000 });
    await tabs.scheduler.drain();
    for (const { reader } of tabs.all) {
      expect(reader.frames.at(-1)).toMatchObject({ type: "token_expiring" });
    }
  });

  it("are refused with the server's words", async () => {
    const tabs = new Tabs();
    const tab = tabs.start();
    while (tabs.upstream.connections.length === 0) await tabs.scheduler.step();
    const connection = tabs.connection;
    connection.say({ type: "error", code: "UNAUTHENTICATED", message: "no", temporary: false });
    connection.close(4501);
    tab.reader.returns = false;
    await tabs.scheduler.drain();
    expect(tab.reader.frames).toMatchObject([{ type: "error", code: "UNAUTHENTICATED" }]);
    expect(tab.reader.closes).toEqual([4501]);
  });
});

describe("a token that is refused", () => {
  it("ends the tab that it is of, and the others connect with theirs", () => {
    const sent: string[] = [];
    const lines: SocketEvents[] = [];
    const { environment } = new Tabs().browser.page();
    const open: Environment["open"] = (_url, _protocol, events) => {
      lines.push(events);
      return { send: (text) => void sent.push(text), close: () => undefined };
    };
    const switchboard = new Switchboard({ ...environment, open }, { url: "", protocol: "", clientId: "" });
    const told: Record<string, ToTab[]> = { bad: [], good: [] };
    const join = (from: string, line: number): void => {
      const hello = JSON.stringify({ type: "auth", id: 1, token: from });
      switchboard.hear({ from, line, hello }, (message) => told[from]?.push(message));
    };
    join("bad", 1);
    join("good", 1);
    lines[0]?.opened();
    lines[0]?.closed(4501);
    expect(told["bad"]).toEqual([{ line: 1, closed: 4501 }]);
    expect(told["good"]).toEqual([
      { line: 1, text: expect.stringContaining('"retryAfter":0') as string },
      { line: 1, closed: 1012 },
    ]);
    join("good", 2);
    lines[1]?.opened();
    expect(sent.map((text) => (JSON.parse(text) as { token: string }).token)).toEqual(["bad", "good"]);
  });

  it.each([
    ["when it expires", "first", []],
    ["after a refresh by another", "second", [{ type: "refresh", token: "ada:newer" }]],
  ])("is its own tab's affair %s", async (_, whose, requests) => {
    const tabs = new Tabs();
    const [first, second] = [await tabs.open(), await tabs.open()];
    for (const request of requests) second.reader.request(request);
    await tabs.scheduler.drain();
    const closed = tabs.connection;
    closed.say({ type: "disconnect", code: 4401, reason: "", reconnect: true });
    closed.close(4401);
    await tabs.settle();
    const closes = [first.reader.closes, second.reader.closes];
    expect(closes).toEqual(whose === "first" ? [[4401], [1012]] : [[1012], [4401]]);
    expect(tabs.all.every(({ reader }) => reader.isReady)).toBe(true);
  });
});

describe("tabs of two users", () => {
  it("never share", async () => {
    const tabs = new Tabs();
    const [ada, bob] = [await tabs.open("ada"), await tabs.open("bob")];
    expect(tabs.upstream.open.map(({ token }) => token)).toEqual(["ada", "bob"]);
    const [first, second] = tabs.upstream.open;
    expect(first?.clientId).not.toBe(second?.clientId);
    for (const { reader } of [ada, bob]) expect(reader.isReady).toBe(true);
  });
});
