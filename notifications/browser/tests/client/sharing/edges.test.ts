/** Who shares, with whom, and what happens at the bounds. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Environment } from "../../../src/client/environment.ts";
import { Caller } from "../../../src/client/sharing/caller.ts";
import { sharing } from "../../../src/client/sharing/index.ts";
import { shareName } from "../../../src/client/sharing/key.ts";
import type { ToTab } from "../../../src/client/sharing/wire.ts";
import { Tabs } from "./world.ts";

function tokenOf(claims: object): string {
  const part = Buffer.from(JSON.stringify(claims)).toString("base64url");
  return `header.${part}.signature`;
}

describe("the name of those who share", () => {
  it("is one user's at one server, whatever the token", async () => {
    const url = "wss://a/ws";
    const ada = await shareName(url, tokenOf({ sub: "1", jti: "x" }));
    expect(ada).toMatch(/^bellwether\./);
    expect(await shareName(url, tokenOf({ sub: "1", jti: "ÿ?>" }))).toBe(ada);
    expect(await shareName(url, tokenOf({ sub: "2", jti: "x" }))).not.toBe(ada);
    expect(await shareName("wss://b/ws", tokenOf({ sub: "1", jti: "x" }))).not.toBe(ada);
  });

  it("is the whole token's where that names nobody, and does not show it", async () => {
    const keys = ["bw_1_secret", "bw_2_secret", tokenOf({ jti: "x" }), tokenOf({ jti: "y" }), '"1"'];
    const names = await Promise.all(keys.map((key) => shareName("wss://a/ws", key)));
    expect(new Set(names).size).toBe(keys.length);
    for (const [index, name] of names.entries()) expect(name).not.toContain(keys[index]);
  });

  it("tells a user from a token of the same text", async () => {
    const user = await shareName("u", tokenOf({ sub: "bw_1" }));
    expect(await shareName("u", "bw_1")).not.toBe(user);
  });
});

describe("a client", () => {
  const { environment } = new Tabs().browser.page();
  const config = { url: "ws://a/ws", auth: "token" };
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("shares where the browser can", () => {
    vi.stubGlobal("navigator", { locks: {} });
    expect(sharing(environment, config)).not.toBe(environment);
  });

  it("has its own socket where it asks for that, or for what would delay others", () => {
    vi.stubGlobal("navigator", { locks: {} });
    expect(sharing(environment, { ...config, shared: false })).toBe(environment);
    expect(sharing(environment, { ...config, batch: { maxSize: 5 } })).toBe(environment);
  });

  it("has its own socket where something is missing", () => {
    vi.stubGlobal("navigator", {});
    expect(sharing(environment, config)).toBe(environment);
    vi.stubGlobal("navigator", { locks: {} });
    vi.stubGlobal("BroadcastChannel", undefined);
    expect(sharing(environment, config)).toBe(environment);
  });

  it("has its own socket in Node 24, which has locks and channels, and no tabs", () => {
    vi.stubGlobal("navigator", { locks: {} });
    const node: Environment = { ...environment, kind: "service" };
    expect(sharing(node, config)).toBe(node);
  });
});

describe("a tab", () => {
  it("disconnects and connects again, and has missed nothing within the time", async () => {
    const tabs = new Tabs();
    await tabs.open();
    const tab = await tabs.subscribed("a.x");
    tab.reader.disconnect();
    await tabs.scheduler.drain();
    const missed = tabs.upstream.publish("a.x");
    tab.reader.connect();
    await tabs.settle();
    expect(tab.reader.got.get("a.x")).toEqual([missed.id]);
    expect(tabs.upstream.connections).toHaveLength(1);
  });

  it("is the last to disconnect, and the socket closes", async () => {
    const tabs = new Tabs();
    const both = [await tabs.open(), await tabs.open()];
    for (const { reader } of both) {
      expect(tabs.upstream.open).toHaveLength(1);
      reader.disconnect();
      await tabs.settle();
    }
    expect(tabs.upstream.open).toEqual([]);
  });

  it("that does not read is cut off; one that reads is not, however much comes", () => {
    const heard: ToTab[] = [];
    const caller = new Caller("tab", 1, { type: "auth" }, undefined, (message) => {
      heard.push(message);
    });
    for (let sent = 0; sent < 15_000; sent += 1) {
      caller.giveText("a frame");
      if (sent % 1_000 === 0) caller.read(1_000);
    }
    expect(caller.isOpen).toBe(true);
    for (let sent = 0; sent < 10_001; sent += 1) caller.giveText("a frame");
    expect(heard.at(-1)).toEqual({ line: 1, closed: 4409 });
    expect(heard.length).toBeLessThanOrEqual(15_000 + 10_001);
  });

  it("says now and then how many frames it has read", async () => {
    const tabs = new Tabs();
    await tabs.open();
    await tabs.subscribed("a.x");
    const post = vi.spyOn(tabs.browser, "post");
    for (let sent = 0; sent < 1_100; sent += 1) tabs.upstream.publish("a.x");
    await tabs.scheduler.drain();
    const reads = post.mock.calls.map(([, message]) => message).filter((one) => "read" in one);
    expect(reads).toMatchObject([{ read: 1_000 }]);
  });

  it("that may not have locks has its own socket at once", async () => {
    const tabs = new Tabs();
    const tab = tabs.start();
    tab.page.forbidsLocks = true;
    await tabs.settle();
    expect(tab.reader.isReady).toBe(true);
    expect(tabs.connection.clientId).toBe(tab.reader.clientId);
  });

  it("leaves the others when it disconnects, though its socket is its own", async () => {
    const tabs = new Tabs();
    const leader = await tabs.open();
    leader.reader.subscribe("a.x", { filter: { exists: "payload" } });
    await tabs.settle();
    const other = await tabs.open();
    expect(tabs.leader).toBe(leader);
    expect(tabs.upstream.open).toHaveLength(2);
    leader.reader.disconnect();
    await tabs.settle();
    expect(tabs.leader).toBe(other);
    expect(tabs.upstream.open).toHaveLength(1);
  });

  it("whose URL can not be opened fails as it would alone", async () => {
    const tabs = new Tabs();
    const tab = tabs.start();
    tab.reader.returns = false;
    tab.page.refusesToOpen = true;
    await tabs.scheduler.drain();
    expect(tab.reader.closes).toEqual([1012]);
    expect(() => {
      tab.reader.connect();
    }).toThrow("malformed");
  });
});

describe("a tab that came back on another line", () => {
  it("is not sent away by the answer to what it asked on the one before", async () => {
    const tabs = new Tabs();
    await tabs.subscribed("a.x");
    const tab = await tabs.subscribed("b.y");
    const cursor = { epoch: "x1", offsets: { "0": 0, "1": 0 } };
    const { connection } = tabs;
    const { say } = connection;
    connection.say = (frame) => {
      if (frame["type"] !== "replay_complete") return say.call(connection, frame);
      connection.say = say;
      say.call(connection, { ...frame, recovered: false, count: 0, reason: "TOO_MANY" });
    };
    tab.reader.request({ type: "replay", cursor, subscriptionId: tab.reader.topics.get("b.y") });
    tab.reader.giveUp();
    await tabs.settle();
    const message = tabs.upstream.publish("b.y");
    await tabs.settle();
    expect(tab.reader.got.get("b.y")).toContain(message.id);
    expect(tab.reader.closes).toEqual([]);
  });
});
