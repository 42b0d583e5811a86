/** What shares sockets is loaded before the first one is opened. */
import { describe, expect, it } from "vitest";
import type { Environment } from "../../../src/client/environment.ts";
import { openLater } from "../../../src/client/sharing/index.ts";
import { Tabs } from "./world.ts";

type Opener = Pick<Environment, "open" | "leave">;

/** Notes which sockets it is asked for. */
function opener(name: string, told: string[]): Opener {
  return {
    open: (url) => {
      told.push(`${name} opens ${url}`);
      return { send: () => undefined, close: () => undefined };
    },
    leave: () => {
      told.push(`${name} leaves`);
    },
  };
}

function setUp(load: (told: string[]) => Promise<{ openerFor(): Opener }>) {
  const told: string[] = [];
  const { environment } = new Tabs().browser.page();
  const { open: ownOpen } = opener("own", told);
  const own = { ...environment, open: ownOpen };
  const { prepare, open, leave } = openLater(own, () => load(told));
  const events = { opened: () => undefined, received: () => undefined, closed: () => undefined };
  return { told, prepare, leave, open: (url: string) => open(url, "protocol", events) };
}

describe("a client that may share", () => {
  it("loads once, and opens with what came", async () => {
    const { told, prepare, open, leave } = setUp(async (told) => {
      told.push("loads");
      return { openerFor: () => opener("shared", told) };
    });
    expect(told).toEqual([]);
    await Promise.all([prepare?.(), prepare?.()]);
    open("a");
    await prepare?.();
    open("b");
    leave?.();
    expect(told).toEqual(["loads", "shared opens a", "shared opens b", "shared leaves"]);
  });

  it("has its own sockets where loading fails", async () => {
    const { told, prepare, open, leave } = setUp(() => Promise.reject(new Error("404")));
    await prepare?.();
    open("a");
    leave?.();
    expect(told).toEqual(["own opens a"]);
  });
});
