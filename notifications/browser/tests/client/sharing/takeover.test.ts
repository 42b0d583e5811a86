/** Leading tabs go, in all the ways in which a tab can. */
import { describe, expect, it } from "vitest";
import { type Tab, Tabs, expected } from "./world.ts";

async function three(): Promise<{ tabs: Tabs; leader: Tab; others: Tab[] }> {
  const tabs = new Tabs();
  const leader = await tabs.subscribed("a.x");
  const others = [await tabs.subscribed("a.x"), await tabs.subscribed("b.y")];
  expect(tabs.leader).toBe(leader);
  return { tabs, leader, others };
}

function gotAll(tabs: Tabs, tab: Tab): void {
  expect(tab.reader.lost).toBe(0);
  for (const [topic, ids] of tab.reader.got) expect(ids).toEqual(expected(tabs, topic, tab.reader));
}

describe("a leading tab", () => {
  it("crashes, and the next in line goes on where it ended", async () => {
    const { tabs, leader, others } = await three();
    const { clientId } = tabs.connection;
    leader.page.crash();
    tabs.upstream.publish("a.x");
    tabs.upstream.publish("b.y");
    await tabs.settle();
    tabs.upstream.publish("b.y");
    await tabs.settle();
    expect(tabs.connection.clientId).toBe(clientId);
    for (const tab of others) gotAll(tabs, tab);
    expect(others.map(({ reader }) => reader.closes)).toEqual([[1012], [1012]]);
    expect(others[0]?.reader.frames).toContainEqual({
      type: "disconnect",
      code: 1012,
      reason: "The connection that tabs share begins anew.",
      reconnect: true,
      retryAfter: 0,
    });
  });

  it("disconnects, and leaves the lead", async () => {
    const { tabs, leader, others } = await three();
    leader.reader.disconnect();
    tabs.upstream.publish("a.x");
    await tabs.settle();
    expect(tabs.leader).toBe(others[0]);
    for (const tab of others) gotAll(tabs, tab);
  });

  it("is put aside by its browser, and is one of many when it comes back", async () => {
    const { tabs, leader, others } = await three();
    leader.page.hide();
    await tabs.settle();
    expect(tabs.leader).toBe(others[0]);
    tabs.upstream.publish("a.x");
    await tabs.settle();
    leader.page.show();
    await tabs.settle();
    expect(tabs.leader).toBe(others[0]);
    expect(leader.reader.closes).toEqual([1012]);
    for (const tab of tabs.all) gotAll(tabs, tab);
    expect(tabs.connection.isOpen).toBe(true);
  });

  it("reloads, and so does each that takes over", async () => {
    const { tabs } = await three();
    for (let round = 0; round < 6; round += 1) {
      const { leader } = tabs;
      if (leader === undefined) throw new Error("nobody leads");
      tabs.upstream.publish("a.x");
      tabs.reload(leader);
      tabs.upstream.publish("b.y");
      await tabs.settle();
    }
    for (const tab of tabs.all) gotAll(tabs, tab);
    expect(tabs.connection.heard.map(({ type }) => type)).not.toContain("unsubscribe");
  });

  it("goes when it is alone, and finds its session again", async () => {
    const tabs = new Tabs();
    const tab = await tabs.subscribed("a.x");
    tabs.upstream.publish("a.x");
    tabs.reload(tab);
    tabs.upstream.publish("a.x");
    await tabs.settle();
    gotAll(tabs, tab);
    expect(tab.reader.got.get("a.x")).toHaveLength(2);
  });

  it("hangs: others do without it after two failures, until another leads", async () => {
    const { tabs, leader, others } = await three();
    leader.page.isHung = true;
    const [first] = others;
    if (first === undefined) throw new Error("no other");
    first.reader.giveUp();
    await tabs.settle();
    expect(tabs.upstream.open).toHaveLength(1);
    first.reader.giveUp();
    await tabs.settle();
    const own = tabs.upstream.open.filter(({ clientId }) => clientId === first.reader.clientId);
    expect(own).toHaveLength(1);
    expect(first.reader.isReady).toBe(true);
    leader.page.crash();
    await tabs.settle();
    expect(tabs.leader).toBe(first);
    own[0]?.close(1006);
    await tabs.settle();
    expect(tabs.connection.clientId).not.toBe(first.reader.clientId);
    expect(first.reader.isReady).toBe(true);
  });

  it("does not answer yet when it is asked, and the next one is asked again", async () => {
    const { tabs, leader, others } = await three();
    const late = tabs.start();
    for (let steps = 0; steps < 4; steps += 1) await tabs.scheduler.step();
    leader.page.crash();
    await tabs.settle();
    for (const tab of [...others, late]) expect(tab.reader.isReady).toBe(true);
    expect(tabs.connection.isOpen).toBe(true);
  });
});

describe("a tab that comes back", () => {
  it("keeps what the server holds while the server is away for long", async () => {
    const { tabs, others } = await three();
    const [first] = tabs.all;
    for (const { reader } of others) reader.returns = false; // their clients wait to retry
    tabs.connection.close(1006);
    await tabs.pass(30_000);
    tabs.upstream.publish("b.y");
    for (const { reader } of others) {
      reader.returns = true;
      reader.connect();
    }
    await tabs.settle();
    for (const tab of [...others, ...(first ? [first] : [])]) gotAll(tabs, tab);
  });

  it("too late for its subscription is told that its session is gone", async () => {
    const tabs = new Tabs();
    await tabs.open();
    const tab = await tabs.subscribed("a.x");
    tab.reader.returns = false;
    const { saved } = tab.reader;
    tab.page.crash();
    await tabs.pass(30_000);
    const missed = tabs.upstream.publish("a.x");
    tab.page = tabs.browser.page(tab.page.session);
    const { Reader } = await import("./reader.ts");
    tab.reader = new Reader(tab.page, "ada", "", saved);
    tab.reader.connect();
    await tabs.settle();
    expect(tab.reader.lost).toBe(1);
    // It subscribes anew from its cursor, so that nothing is lost all the same.
    expect(tab.reader.got.get("a.x")).toEqual([missed.id]);
  });
});
