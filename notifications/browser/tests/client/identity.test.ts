import { describe, expect, it } from "vitest";
import { type IdLocks, type IdStore, claimClientId } from "../../src/client/identity.ts";

const KEY = "bellwether.clientId";

function store(kept?: string): IdStore & { kept: string | null } {
  return {
    kept: kept ?? null,
    getItem(key) {
      return key === KEY ? this.kept : null;
    },
    setItem(_key, value) {
      this.kept = value;
    },
  };
}

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

const broken: IdStore = {
  getItem() {
    throw new Error("forbidden");
  },
  setItem() {
    throw new Error("full");
  },
};

describe("claimClientId", () => {
  it("makes an id and keeps it over a reload", async () => {
    const kept = store();
    expect(await claimClientId(kept, locks(), () => "first")).toBe("first");
    expect(await claimClientId(kept, locks(), () => "second")).toBe("first");
  });

  it("gives a duplicated tab an id of its own", async () => {
    const shared = locks();
    const original = store("original");
    const copy = store("original");
    expect(await claimClientId(original, shared, () => "unused")).toBe("original");
    expect(await claimClientId(copy, shared, () => "fresh")).toBe("fresh");
    expect(copy.kept).toBe("fresh");
    expect(original.kept).toBe("original");
  });

  it.each([
    ["no store", undefined],
    ["a store that throws", broken],
    ["a store with something else in it", store("not an id!")],
  ])("makes an id with %s", async (_name, where) => {
    expect(await claimClientId(where, undefined, () => "fresh")).toBe("fresh");
  });

  it("trusts the kept id when the locks fail for another reason", async () => {
    const failing: IdLocks = { request: () => Promise.reject(new Error("insecure")) };
    expect(await claimClientId(store("kept"), failing, () => "fresh")).toBe("kept");
  });
});
