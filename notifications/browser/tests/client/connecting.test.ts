/** Connecting, and losing the connection, against a server that speaks the protocol. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { NotificationError } from "../../src/client/errors.ts";
import { VERSION } from "../../src/client/version.ts";
import { World } from "./world.ts";

let world: World;
afterEach(() => world.close());

describe("connect", () => {
  it("says who it is in the first frame, and nothing in the URL", async () => {
    world = await World.open({ auth: () => Promise.resolve("fresh") });
    const done = world.client.connect();
    const peer = await world.server.peers.next();
    expect(await peer.accept()).toEqual({
      type: "auth",
      token: "fresh",
      clientId: "id-1",
      capabilities: ["batch"],
      client: { name: "@bellwether/client", version: VERSION, kind: "browser" },
    });
    await done;
    expect(peer.protocol).toBe("notifications.v1.json");
    expect(world.client.getConnectionState()).toMatchObject({
      status: "connected",
      serverId: "server-1",
    });
  });

  it("is one attempt, however often it is called", async () => {
    world = await World.open();
    const both = Promise.all([world.client.connect(), world.client.connect()]);
    await (await world.server.peers.next()).accept();
    await both;
    await world.client.connect();
    expect(world.server.peers.size).toBe(0);
  });

  it("rejects after all retries, saying why", async () => {
    world = await World.open({
      retryConfig: {
        maxRetries: 2,
        initialDelay: 100,
        maxDelay: 1_000,
        backoffMultiplier: 2,
        jitter: false,
      },
    });
    const outcome = world.client.connect().catch((error: unknown) => error);
    const delays: number[] = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const peer = await world.server.peers.next();
      await peer.expect("auth");
      peer.cut();
      if (attempt === 2) break;
      const { backoffDelay } = await world.state("reconnecting");
      delays.push(backoffDelay);
      world.clock.advance(backoffDelay);
    }
    expect(await outcome).toMatchObject({ name: "ConnectionError", reason: "network_error" });
    expect(delays).toEqual([100, 200]);
    expect(world.client.getConnectionState()).toEqual({
      status: "disconnected",
      reason: "network_error",
    });
  });

  it("gives a server that never answers up, and tries again", async () => {
    world = await World.open();
    void world.client.connect().catch(() => undefined);
    await (await world.server.peers.next()).expect("auth");
    world.clock.advance(15_000);
    expect((await world.state("reconnecting")).lastError).toMatchObject({ reason: "timeout" });
  });

  it("stops at a URL that no socket can have", async () => {
    world = await World.open({ url: "ftp://nowhere" });
    await expect(world.client.connect()).rejects.toMatchObject({ reason: "protocol_error" });
  });
});

describe("the auth function", () => {
  it("is asked again when it failed for now", async () => {
    const auth = vi
      .fn<() => Promise<string>>()
      .mockRejectedValueOnce(new TypeError("offline"))
      .mockResolvedValueOnce("token-2");
    world = await World.open({ auth });
    const done = world.client.connect();
    await world.retry();
    const peer = await world.server.peers.next();
    expect(await peer.accept()).toMatchObject({
      token: "token-2",
      attempt: 1,
      lastDisconnectReason: "network_error",
    });
    await done;
  });

  it("stops the client when it refuses for good", async () => {
    const refusal = new NotificationError("UNAUTHENTICATED", "Log in again.");
    world = await World.open({ auth: () => Promise.reject(refusal) });
    await expect(world.client.connect()).rejects.toMatchObject({
      reason: "authentication_failed",
      message: "Log in again.",
    });
  });

  it("gives a fresh token when the server says that the old one expires", async () => {
    const auth = vi
      .fn<() => Promise<string>>()
      .mockResolvedValueOnce("token-1")
      .mockResolvedValueOnce("token-2");
    world = await World.open({ auth });
    const peer = await world.connected();
    peer.send({ type: "token_expiring", expiresIn: 60_000 });
    const refresh = await peer.expect("refresh");
    expect(refresh).toMatchObject({ token: "token-2" });
    peer.send({ type: "refreshed", id: refresh["id"], expiresIn: 900_000 });
    await world.caughtUp(peer);
    expect(world.client.getConnectionState().status).toBe("connected");
  });
});

describe("a close", () => {
  it.each([
    [4500, "protocol_error"],
    [4501, "authentication_failed"],
    [4502, "protocol_error"],
    [4503, "server_initiated"],
    [4504, "server_initiated"],
    [4999, "server_initiated"],
    [1009, "protocol_error"],
  ])("with %d stops: %s", async (code, reason) => {
    world = await World.open();
    const peer = await world.connected();
    peer.close(code);
    expect(await world.state("disconnected")).toMatchObject({ reason });
    expect(world.events).toMatchObject([{ type: "connection_ended", error: { closeCode: code } }]);
    expect(world.clock.waiting).toBe(0);
  });

  it.each([1001, 1011, 1012, 1013, 4400, 4402, 4408, 4409, 4410, 4411, 4429])(
    "with %d reconnects",
    async (code) => {
      world = await World.open();
      const peer = await world.connected();
      peer.close(code);
      await world.retry();
      await (await world.server.peers.next()).accept();
      await world.state("connected");
      expect(world.client.getStats().reconnectCount).toBe(1);
    },
  );

  it("after `disconnect` waits as long as the server wishes", async () => {
    world = await World.open();
    const peer = await world.connected();
    const wish = { code: 1012, reason: "The server restarts.", reconnect: true, retryAfter: 250 };
    peer.send({ type: "disconnect", ...wish });
    peer.cut();
    expect(await world.state("reconnecting")).toMatchObject({
      backoffDelay: 250,
      lastError: { message: "The server restarts.", closeCode: 1012 },
    });
    world.wake();
    expect(world.client.getConnectionState().status).toBe("reconnecting");
  });

  it("stops when `disconnect` says so, even if the close frame was lost", async () => {
    world = await World.open();
    const peer = await world.connected();
    peer.send({ type: "disconnect", code: 4503, reason: "Access revoked.", reconnect: false });
    peer.cut();
    expect(await world.state("disconnected")).toMatchObject({ reason: "server_initiated" });
  });

  it("for an expired token stops where the token cannot change", async () => {
    world = await World.open({ auth: "for-ever" });
    const outcome = world.client.connect();
    const peer = await world.server.peers.next();
    await peer.expect("auth");
    const message = "Get a new token.";
    peer.send({ type: "error", code: "TOKEN_EXPIRED", message, temporary: false });
    peer.close(4401);
    await expect(outcome).rejects.toMatchObject({ reason: "authentication_failed", message });
  });

  it("for an expired token fetches another where it can", async () => {
    world = await World.open({ auth: () => Promise.resolve("fresh") });
    const peer = await world.connected();
    peer.close(4401);
    await world.retry();
    await (await world.server.peers.next()).accept();
    await world.state("connected");
  });
});

describe("reconnecting", () => {
  it("counts attempts on until a connection was stable", async () => {
    world = await World.open();
    let peer = await world.connected();
    for (const [lived, delay] of [
      [5_000, 1_000],
      [4_999, 2_000],
      [0, 4_000],
      [5_000, 1_000],
    ] as const) {
      world.clock.advance(lived);
      peer.cut();
      expect((await world.state("reconnecting")).backoffDelay).toBe(delay);
      world.clock.advance(delay);
      peer = await world.server.peers.next();
      await peer.accept();
      await world.state("connected");
    }
  });

  it("tries at once when the network comes back", async () => {
    world = await World.open();
    const peer = await world.connected();
    peer.cut();
    await world.state("reconnecting");
    world.wake();
    await (await world.server.peers.next()).accept();
    await world.state("connected");
  });

  it("is the application's when it hears that the connection has ended", async () => {
    world = await World.open();
    const again = new Promise<void>((resolve) => {
      world.client.onEvent(({ type }) => {
        if (type === "connection_ended") resolve(world.client.connect());
      });
    });
    const peer = await world.connected();
    peer.close(4503);
    await (await world.server.peers.next()).accept();
    await again;
    expect(world.client.getConnectionState().status).toBe("connected");
  });

  it("tries at once when the application asks", async () => {
    world = await World.open();
    const peer = await world.connected();
    peer.cut();
    await world.state("reconnecting");
    const done = world.client.connect();
    await (await world.server.peers.next()).accept();
    await done;
  });
});

describe("heartbeat", () => {
  it("measures the round trip and takes any frame as life", async () => {
    world = await World.open();
    const peer = await world.connected();
    world.clock.advance(30_000);
    const ping = await peer.expect("ping");
    world.clock.advance(40);
    peer.send({ type: "pong", t: ping["t"], cursor: { epoch: "x1", offsets: {} } });
    await world.caughtUp(peer);
    expect(world.client.getConnectionState()).toMatchObject({ latency: 40 });
    expect(world.client.getStats()).toMatchObject({ averageLatency: 20, uptime: 30_040 });
    world.clock.advance(5_000);
    expect(world.client.getConnectionState().status).toBe("connected");
  });

  it("reconnects when the server is silent", async () => {
    world = await World.open();
    await world.connected();
    world.clock.advance(35_000);
    const { lastError } = await world.state("reconnecting");
    expect(lastError).toMatchObject({ reason: "timeout" });
  });

  it("is not slower than the server wants, and faster if configured", async () => {
    world = await World.open({ heartbeatInterval: 10_000, heartbeatTimeout: 1_000 });
    const peer = await world.connected();
    world.clock.advance(10_000);
    await peer.expect("ping");
    world.clock.advance(1_000);
    await world.state("reconnecting");
  });

  it("probes at once when the tab wakes", async () => {
    world = await World.open();
    const peer = await world.connected();
    world.wake();
    await peer.expect("ping");
  });
});
