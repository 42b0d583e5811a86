/** The client on a real platform: Node, which has no page, and whose sockets are those of ws. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { browser, openSocket } from "../../src/client/browser.ts";
import { createNotificationClient } from "../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";

let stop: () => Promise<void> = () => Promise.resolve();
afterEach(() => stop());

describe("in Node", () => {
  it("a client connects with the WebSocket that it is given", async () => {
    const server = await FakeServer.start();
    stop = () => server.stop();
    const client = createNotificationClient({
      url: server.url,
      auth: "token",
      webSocket: WebSocket,
    });
    const done = client.connect();
    const auth = await (await server.peers.next()).accept();
    await done;
    expect(auth["client"]).toMatchObject({ kind: "service" });
    await client.disconnect();
  });

  it("a refused upgrade tells when to come back", async () => {
    const server = createServer();
    server.on("upgrade", (_request, socket) => {
      socket.end("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nConnection: close\r\n\r\n");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stop = () => new Promise((resolve) => server.close(() => resolve()));
    const { port } = server.address() as AddressInfo;
    const closed = new Promise((resolve) => {
      const nothing = (): void => undefined;
      openSocket(WebSocket, `ws://127.0.0.1:${port}/ws`, "p", {
        opened: nothing,
        received: nothing,
        closed: (...how) => resolve(how),
      });
    });
    expect(await closed).toEqual([1006, { status: 503, retryAfter: 7_000 }]);
  });

  it("says what is missing where there is no WebSocket", () => {
    const events = { opened: vi.fn(), received: vi.fn(), closed: vi.fn() };
    expect(() => openSocket(undefined, "ws://nowhere", "p", events)).toThrow("webSocket");
  });

  it("has no page to listen to, and keeps its state in memory", async () => {
    const run = vi.fn();
    browser.onWake(run)();
    browser.onHide(run)();
    expect(run).not.toHaveBeenCalled();
    const storage = browser.storage();
    await storage.set("a", "b");
    expect(await storage.get("a")).toBe("b");
    expect(await browser.storage().get("a")).toBeUndefined();
    expect(await browser.claim("an-id")).toBe(true);
  });
});
