/** The token of a connection is replaced before it expires. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { NotificationError } from "../../src/client/errors.ts";
import { World, settled } from "./world.ts";

let world: World;
afterEach(() => world.close());

const RETRY = {
  maxRetries: 0,
  initialDelay: 1_000,
  maxDelay: 30_000,
  backoffMultiplier: 2,
  jitter: false,
};

function tokens() {
  let n = 0;
  return vi.fn<() => Promise<string>>(() => Promise.resolve(`token-${(n += 1)}`));
}

describe("a token", () => {
  it("is replaced at nine tenths of its life, each time", async () => {
    world = await World.open({ auth: tokens() });
    const peer = await world.connected({ expiresIn: 10_000 });
    world.clock.advance(8_999);
    await settled();
    expect(peer.frames.size).toBe(0);
    world.clock.advance(1);
    const { id, token } = await peer.expect("refresh");
    expect(token).toBe("token-2");
    peer.send({ type: "refreshed", id, expiresIn: 20_000 });
    await world.caughtUp(peer);
    world.clock.advance(18_000);
    expect(await peer.expect("refresh")).toMatchObject({ token: "token-3" });
  });

  it("is replaced when the server says that it expires, and once", async () => {
    world = await World.open({ auth: tokens() });
    const peer = await world.connected({ expiresIn: 10_000 });
    const expiring = { type: "token_expiring", expiresIn: 5_000 };
    peer.send([expiring, expiring]);
    await peer.expect("refresh");
    world.clock.advance(9_500);
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
  });

  it("that does not expire is not replaced", async () => {
    world = await World.open({ auth: tokens(), heartbeatInterval: 1e9 });
    const peer = await world.connected({ expiresIn: undefined, heartbeat: HOURS });
    world.clock.advance(1e8);
    await settled();
    expect(peer.frames.size).toBe(0);
  });

  it("that is a configured text is not replaced", async () => {
    world = await World.open({ auth: "for-ever" });
    const peer = await world.connected({ expiresIn: 10_000 });
    peer.send({ type: "token_expiring", expiresIn: 1_000 });
    world.clock.advance(10_000);
    await world.caughtUp(peer);
    expect(peer.frames.size).toBe(0);
  });
});

const HOURS = { interval: 1e9, timeout: 1e9 };

describe("a token function that fails", () => {
  it("for now is tried again by the retry policy, until the token has expired", async () => {
    const auth = tokens();
    world = await World.open({ auth, retryConfig: RETRY });
    const peer = await world.connected({ expiresIn: 20_000, heartbeat: HOURS });
    auth.mockRejectedValue(new TypeError("offline"));
    world.clock.advance(18_000); // fails; again after 1,000, and not after 2,000 more
    await settled();
    expect(auth).toHaveBeenCalledTimes(2);
    world.clock.advance(1_000);
    await settled();
    expect(auth).toHaveBeenCalledTimes(3);
    world.clock.advance(60_000);
    await settled();
    expect(auth).toHaveBeenCalledTimes(3);
    expect(peer.frames.size).toBe(0);
    expect(world.client.getConnectionState().status).toBe("connected");
  });

  it("for now, and then works, refreshes", async () => {
    const auth = tokens();
    world = await World.open({ auth, retryConfig: RETRY });
    const peer = await world.connected({ expiresIn: 100_000, heartbeat: HOURS });
    auth.mockRejectedValueOnce(new TypeError("offline"));
    world.clock.advance(90_000);
    await settled();
    world.clock.advance(1_000);
    expect(await peer.expect("refresh")).toMatchObject({ token: "token-2" });
  });

  it("by hanging has failed after 15 s, and is tried again", async () => {
    const auth = tokens();
    world = await World.open({ auth, retryConfig: RETRY });
    const peer = await world.connected({ expiresIn: 1_000_000, heartbeat: HOURS });
    auth.mockReturnValueOnce(new Promise(() => undefined));
    world.clock.advance(900_000);
    await settled();
    world.clock.advance(15_000);
    await settled();
    world.clock.advance(1_000);
    expect(await peer.expect("refresh")).toMatchObject({ token: "token-2" });
  });

  it("for good ends the client", async () => {
    const auth = tokens();
    world = await World.open({ auth });
    const peer = await world.connected({ expiresIn: 10_000 });
    auth.mockRejectedValue(new NotificationError("UNAUTHENTICATED", "Log in again."));
    world.clock.advance(9_000);
    expect(await world.state("disconnected")).toMatchObject({ reason: "authentication_failed" });
    expect(world.heard()).toMatchObject([
      { type: "connection_ended", error: { message: "Log in again." } },
    ]);
    await peer.closed;
  });
});

describe("a refresh that the server refuses", () => {
  it("for now is made again", async () => {
    world = await World.open({ auth: tokens(), retryConfig: RETRY });
    const peer = await world.connected({ expiresIn: 100_000, heartbeat: HOURS });
    world.clock.advance(90_000);
    const error = { type: "error", code: "RATE_LIMITED", message: "", temporary: true };
    await peer.answer("refresh", { ...error, retryAfter: 300 });
    await world.caughtUp(peer);
    world.clock.advance(300);
    expect(await peer.expect("refresh")).toMatchObject({ token: "token-3" });
  });

  it("for good is told, and the old token goes on", async () => {
    world = await World.open({ auth: tokens() });
    const peer = await world.connected({ expiresIn: 10_000 });
    world.clock.advance(9_000);
    const error = { type: "error", code: "FORBIDDEN", message: "No.", temporary: false };
    await peer.answer("refresh", error);
    await world.caughtUp(peer);
    expect(world.heard()).toMatchObject([{ type: "server_error", error: { code: "FORBIDDEN" } }]);
    expect(world.client.getConnectionState().status).toBe("connected");
  });
});
