import { describe, expect, it } from "vitest";
import { type IdLocks, claimClientId } from "../../src/client/identity.ts";

/** Locks that pages share; one that is held times out at once. */
function locks(): IdLocks {
  const held = new Set<string>();
  return {
    request(name, _options, hold) {
      if (held.has(name)) return Promise.reject(new DOMException("late", "TimeoutError"));
      held.add(name);
      return hold();
    },
  };
}

describe("claimClientId", () => {
  it("lets one page have an id, and another page another", async () => {
    const shared = locks();
    expect(await claimClientId(shared, "one")).toBe(true);
    expect(await claimClientId(shared, "one")).toBe(false);
    expect(await claimClientId(shared, "two")).toBe(true);
  });

  it("trusts the id where there are no locks", async () => {
    expect(await claimClientId(undefined, "one")).toBe(true);
  });

  it("trusts the id when the locks fail for another reason", async () => {
    const failing: IdLocks = { request: () => Promise.reject(new Error("insecure")) };
    expect(await claimClientId(failing, "one")).toBe(true);
  });
});
