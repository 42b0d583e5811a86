/** The client on a real platform: Node, which has no page, and whose sockets are those of ws. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { DEFAULT_RETRY } from "../../src/client/backoff.ts";
import { browser, openSocket } from "../../src/client/browser.ts";
import type { WebSocketLike } from "../../src/client/environment.ts";
import { createNotificationClient } from "../../src/client/index.ts";
import { FakeServer } from "./fake-server.ts";

let stop: () => Promise<void> = () => Promise.resolve();
afterEach(() => stop());

/** A socket that does nothing by itself. */
function openFake() {
  class Fake {
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    send(): void {}
    close(): void {}
  }
  const events = { opened: vi.fn(), received: vi.fn(), closed: vi.fn() };
  const socket = openSocket(Fake, "ws://nowhere", "p", events) as unknown as WebSocketLike;
  return { socket, events };
}

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
    expect(await closed).toEqual([1006, { status: 503, retryAfter: 7_000 }, expect.any(Error)]);
  });

  it("tells why there was no connection", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve)); // nobody listens here
    const client = createNotificationClient({
      url: `ws://127.0.0.1:${port}/ws`,
      auth: "token",
      webSocket: WebSocket,
      retryConfig: { ...DEFAULT_RETRY, maxRetries: 1, initialDelay: 1 },
    });
    const cause = { code: "ECONNREFUSED" };
    const error = { reason: "network_error", message: expect.stringContaining(cause.code) as string };
    await expect(client.connect()).rejects.toMatchObject({ ...error, cause });
  });

  it("an error before the opening is the end, once, whether a close follows or not", () => {
    const { socket, events } = openFake();
    const error = new Error("refused");
    socket.onerror?.({ error } as never);
    socket.onclose?.({ code: 1006 } as never);
    expect(events.closed.mock.calls).toEqual([[1006, undefined, error]]);
  });

  it("after the opening the close tells the code", () => {
    const { socket, events } = openFake();
    socket.onopen?.({} as never);
    socket.onerror?.({} as never);
    socket.onclose?.({ code: 1009 } as never);
    expect(events.closed.mock.calls).toEqual([[1009, undefined, undefined]]);
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
