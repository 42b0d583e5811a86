/** Retries and circuit breakers, as an application sees them. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { ConnectionError, NotificationError } from "../../src/client/errors.ts";
import type { Circuit } from "../../src/client/types.ts";
import { World } from "./world.ts";

const RETRY = {
  maxRetries: 0,
  initialDelay: 100,
  maxDelay: 100,
  backoffMultiplier: 1,
  jitter: false,
};
const breaking = {
  retryConfig: RETRY,
  circuitBreaker: { failureThreshold: 2, resetTimeout: 5_000 },
};

let world: World;
afterEach(() => world.close());

function circuits(): Circuit[] {
  return world.events.flatMap((event) => (event.type === "circuit" ? event.circuit : []));
}

/** Fail one attempt to connect. */
async function refuseOne(): Promise<number> {
  const peer = await world.server.peers.next();
  await peer.expect("auth");
  peer.cut();
  return (await world.state("reconnecting")).backoffDelay;
}

describe("the breaker around connecting", () => {
  it("opens after failures in a row, lets one attempt pass, and closes with it", async () => {
    world = await World.open(breaking);
    world.client.connect().catch(() => undefined);
    expect(await refuseOne()).toBe(100);
    world.clock.advance(100);
    expect(await refuseOne()).toBe(5_000);
    expect(world.client.getStats().circuit).toBe("open");
    world.clock.advance(4_999);
    world.wake();
    expect(world.client.getConnectionState().status).toBe("reconnecting");
    world.clock.advance(1);
    await (await world.server.peers.next()).accept();
    await world.state("connected");
    expect(circuits()).toEqual(["open", "half-open", "closed"]);
    expect(world.client.getStats()).toMatchObject({
      circuit: "closed",
      failures: [{ attempt: 0 }, { attempt: 1, reason: "network_error", closeCode: 1006 }],
    });
  });

  it("opens again when that attempt fails", async () => {
    world = await World.open(breaking);
    world.client.connect().catch(() => undefined);
    await refuseOne();
    world.clock.advance(100);
    await refuseOne();
    world.clock.advance(5_000);
    expect(await refuseOne()).toBe(5_000);
    expect(circuits()).toEqual(["open", "half-open", "open"]);
  });

  it("lets the application's own attempt pass", async () => {
    world = await World.open(breaking);
    world.client.connect().catch(() => undefined);
    await refuseOne();
    world.clock.advance(100);
    await refuseOne();
    const done = world.client.connect();
    await (await world.server.peers.next()).accept();
    await done;
    expect(circuits()).toEqual(["open", "half-open", "closed"]);
  });

  it("counts no connection that was lost after it had been accepted", async () => {
    world = await World.open(breaking);
    let peer = await world.connected();
    for (let n = 0; n < 4; n += 1) {
      peer = await world.reconnect(peer);
      await peer.accept({ resumed: true });
      await world.state("connected");
    }
    expect(circuits()).toEqual([]);
  });
});

describe("the breaker around the token function", () => {
  it("opens and half-opens like the other", async () => {
    const auth = vi.fn<() => Promise<string>>().mockRejectedValue(new TypeError("offline"));
    world = await World.open({ ...breaking, auth });
    world.client.connect().catch(() => undefined);
    expect((await world.state("reconnecting")).backoffDelay).toBe(100);
    world.clock.advance(100);
    expect((await world.state("reconnecting")).backoffDelay).toBe(5_000);
    auth.mockResolvedValue("token");
    world.clock.advance(5_000);
    await (await world.server.peers.next()).accept();
    await world.state("connected");
    expect(auth).toHaveBeenCalledTimes(3);
    expect(circuits()).toEqual(["open", "half-open", "closed"]);
  });
});

describe("a retry", () => {
  it("waits as long as the token function's error says", async () => {
    const busy = new NotificationError("RATE_LIMITED", "", { temporary: true, retryAfter: 700 });
    const auth = vi.fn<() => Promise<string>>().mockRejectedValueOnce(busy);
    world = await World.open({ auth: auth.mockResolvedValue("token"), retryConfig: RETRY });
    world.client.connect().catch(() => undefined);
    expect((await world.state("reconnecting")).backoffDelay).toBe(700);
  });

  it("comes at once where the server says so", async () => {
    world = await World.open({ retryConfig: RETRY });
    const peer = await world.connected();
    peer.send({ type: "disconnect", code: 1012, reason: "", reconnect: true, retryAfter: 0 });
    peer.close(1012);
    expect((await world.state("reconnecting")).backoffDelay).toBe(0);
    world.clock.advance(0);
    await (await world.server.peers.next()).accept();
    await world.state("connected");
  });

  it("waits longer for a server that is not well", async () => {
    world = await World.open({ retryConfig: { ...RETRY, maxDelay: 9_999, strategy: "adaptive" } });
    const peer = await world.connected();
    const farewell = { type: "disconnect", code: 1013, reason: "", reconnect: true, health: 0.2 };
    peer.send(farewell);
    peer.close(1013);
    expect((await world.state("reconnecting")).backoffDelay).toBe(500);
  });
});

describe("an error of the connection", () => {
  it("says what to do about it", () => {
    const error = new ConnectionError("authentication_failed", "The token expired.");
    expect(error.hint).toContain("token");
  });
});
