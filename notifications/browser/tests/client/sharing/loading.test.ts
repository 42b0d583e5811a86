/** What shares sockets is loaded when the first one is wanted. */
import { describe, expect, it } from "vitest";
import type { Environment, Socket, SocketEvents } from "../../../src/client/environment.ts";
import { openLater } from "../../../src/client/sharing/index.ts";
import { Tabs } from "./world.ts";

/** Opens sockets that do nothing, and notes them and what they are told. */
function opener(name: string, told: string[]): Environment["open"] {
  return (url) => {
    told.push(`${name} opens ${url}`);
    return {
      send: (text) => told.push(`${name} sends ${text}`),
      close: (code) => told.push(`${name} closes ${code}`),
    };
  };
}

function setUp(load: (told: string[]) => Promise<{ openerFor(): Environment["open"] }>) {
  const told: string[] = [];
  const events: SocketEvents = {
    opened: () => told.push("opened"),
    received: () => told.push("received"),
    closed: (code) => told.push(`closed ${code}`),
  };
  const { environment } = new Tabs().browser.page();
  const open = openLater({ ...environment, open: opener("own", told) }, () => load(told));
  return { told, open: (url: string): Socket => open(url, "protocol", events) };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

describe("a client that may share", () => {
  it("loads once, and then opens at once", async () => {
    const { told, open } = setUp(async (told) => {
      told.push("loads");
      return { openerFor: () => opener("shared", told) };
    });
    const first = open("a");
    expect(told).toEqual(["loads"]);
    await turns();
    first.send("x");
    first.close();
    open("b");
    expect(told).toEqual([
      "loads",
      "shared opens a",
      "shared sends x",
      "shared closes undefined",
      "shared opens b",
    ]);
  });

  it("has its own sockets where loading fails", async () => {
    const { told, open } = setUp(() => Promise.reject(new Error("404")));
    open("a");
    await turns();
    open("b");
    expect(told).toEqual(["own opens a", "own opens b"]);
  });

  it("opens nothing that was closed meanwhile", async () => {
    const { told, open } = setUp(async (told) => ({ openerFor: () => opener("shared", told) }));
    open("a").close();
    await turns();
    expect(told).toEqual(["closed 1006"]);
  });

  it("hears of what can not be opened", async () => {
    const { told, open } = setUp(async () => ({
      openerFor: () => () => {
        throw new Error("no such URL");
      },
    }));
    open("a");
    await turns();
    expect(told).toEqual(["closed 1006"]);
    expect(() => open("b")).toThrow("no such URL");
  });
});
