import { beforeEach, describe, expect, it } from "vitest";
import { failed, overwhelmed } from "../../src/client/down.ts";
import { ConnectionError } from "../../src/client/errors.ts";
import { type Plan, RetryController } from "../../src/client/retry.ts";
import type { RetryConfig } from "../../src/client/types.ts";

const STEADY: RetryConfig = {
  maxRetries: 3,
  initialDelay: 100,
  maxDelay: 10_000,
  backoffMultiplier: 2,
  jitter: false,
};
const AT = new Date(0);
const LOST = failed("network_error", "Lost.", true);

let retries: RetryController;
beforeEach(() => {
  retries = new RetryController(STEADY, { failureThreshold: 2, resetTimeout: 1_000 });
});

function fail(lived = 0, down = LOST, now = 0): Plan | undefined {
  return retries.failed(down, now, AT, lived, 0.5);
}

describe("RetryController", () => {
  it("plans longer and longer delays, until retries are spent", () => {
    expect([fail(), fail(), fail()].map((plan) => plan?.delay)).toEqual([100, 200, 400]);
    expect(fail()).toBeUndefined();
  });

  it("retries for ever where maxRetries is 0", () => {
    retries = new RetryController({ ...STEADY, maxRetries: 0 }, undefined);
    for (let n = 0; n < 500; n += 1) expect(fail()).toBeDefined();
  });

  it("begins anew after a connection that lived 5 seconds, and not before", () => {
    fail();
    fail();
    expect(fail(4_999)?.delay).toBe(400);
    expect(fail(5_000)?.delay).toBe(100);
  });

  it("waits as long as the server wishes, and says that this was told", () => {
    expect(fail(0, { ...LOST, retryAfter: 7 })).toEqual({ delay: 7, told: true });
    expect(fail()?.told).toBe(false);
  });

  it("waits until a breaker lets it try", () => {
    retries.tokens.failure(0);
    retries.tokens.failure(0);
    expect(fail(0, LOST, 300)).toEqual({ delay: 700, told: true });
    expect(fail(0, { ...LOST, retryAfter: 7 }, 300)).toEqual({ delay: 700, told: true });
  });

  it("goes by the policy that the server pushed last, and its health, without its own", () => {
    retries = new RetryController(undefined, undefined);
    expect(fail()?.delay).toBe(1_000); // the seed's
    retries.push({ ...STEADY, strategy: "adaptive", health: 0.5 });
    expect(retries.delay(0, 0.5)).toBe(200);
    retries.push({ ...STEADY, strategy: "fixed" });
    expect(retries.delay(3, 0.5)).toBe(100);
    retries.push(undefined);
    expect(retries.delay(0, 0.5)).toBe(1_000);
  });

  it("takes its own strategy, and the server's health for it", () => {
    retries = new RetryController({ ...STEADY, strategy: "adaptive" }, undefined);
    retries.health = 0.25;
    expect(retries.delay(0, 0.5)).toBe(400);
  });

  it("remembers the last 20 failures", () => {
    retries = new RetryController({ ...STEADY, maxRetries: 0 }, undefined);
    const error = new ConnectionError("server_initiated", "Slow.", { closeCode: 4409 });
    fail(0, { error, retry: true, retryAfter: undefined });
    expect(retries.failures).toEqual([
      { at: AT, reason: "server_initiated", closeCode: 4409, message: "Slow.", attempt: 0 },
    ]);
    for (let n = 0; n < 25; n += 1) fail();
    expect(retries.failures).toHaveLength(20);
    expect(retries.failures.at(-1)).toEqual({
      at: AT,
      reason: "network_error",
      message: "Lost.",
      attempt: 25,
    });
  });

  it("does not count a connection that this side dropped", () => {
    for (let n = 0; n < 10; n += 1) expect(fail(0, overwhelmed())).toBeDefined();
    expect(retries.attempt).toBe(0);
  });
});
