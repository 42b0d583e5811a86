import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Environment } from "../../src/client/environment.ts";
import { Heartbeat } from "../../src/client/heartbeat.ts";
import { Clock } from "./clock.ts";

const PACE = { interval: 30_000, timeout: 5_000 };

describe("Heartbeat", () => {
  let clock: Clock;
  let heartbeat: Heartbeat;
  const ping = vi.fn();
  const dead = vi.fn();

  beforeEach(() => {
    clock = new Clock();
    ping.mockReset();
    dead.mockReset();
    const { now, after } = clock;
    const environment = { now, after, elapsed: now } as unknown as Environment;
    heartbeat = new Heartbeat(environment, PACE, { ping, dead });
    heartbeat.start();
  });

  it("pings at each interval while frames come", () => {
    for (let beat = 1; beat <= 3; beat += 1) {
      clock.advance(PACE.interval);
      expect(ping).toHaveBeenCalledTimes(beat);
      heartbeat.alive();
    }
    clock.advance(PACE.timeout);
    expect(dead).not.toHaveBeenCalled();
  });

  it("declares death when nothing came within the timeout of a ping", () => {
    clock.advance(PACE.interval + PACE.timeout - 1);
    expect(dead).not.toHaveBeenCalled();
    clock.advance(1);
    expect(dead).toHaveBeenCalledOnce();
  });

  it("probes at once when asked, but not twice", () => {
    heartbeat.probe();
    clock.advance(1_000);
    heartbeat.probe();
    expect(ping).toHaveBeenCalledOnce();
    clock.advance(4_000);
    expect(dead).toHaveBeenCalledOnce();
  });

  it("asks once more when its own deadline came late, as after sleep", () => {
    heartbeat.probe();
    clock.sleep(60_000);
    expect(dead).not.toHaveBeenCalled();
    const pings = ping.mock.calls.length;
    expect(pings).toBeGreaterThanOrEqual(2);
    heartbeat.alive();
    clock.advance(PACE.timeout);
    expect(dead).not.toHaveBeenCalled();
  });

  it("does not ask for ever where every timer is late", () => {
    heartbeat.probe();
    clock.sleep(60_000);
    clock.sleep(60_000);
    expect(dead).toHaveBeenCalledOnce();
  });

  it("leaves no timer when it stops", () => {
    heartbeat.probe();
    heartbeat.stop();
    expect(clock.waiting).toBe(0);
  });
});
