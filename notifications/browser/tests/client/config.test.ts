import { describe, expect, it } from "vitest";
import { createNotificationClient } from "../../src/client/index.ts";
import type { NotificationClientConfig } from "../../src/client/types.ts";

const config = { url: "ws://nowhere/ws", auth: "token", shared: false };

describe("a configuration", () => {
  it.each([
    ["url", ""],
    ["url", undefined],
    ["auth", undefined],
    ["auth", ""],
    ["auth", 7],
    ["clientId", "ada@example.org"],
    ["clientId", ""],
    ["clientId", "a".repeat(129)],
    ["kind", "tablet"],
    ["heartbeatInterval", 0],
    ["heartbeatInterval", Number.NaN],
    ["heartbeatTimeout", -1],
    ["batch", { maxSize: 0 }],
    ["batch", { maxSize: 101 }],
    ["batch", { maxDelay: 10_001 }],
  ])("can not have a %s of %j", (name, value) => {
    const wrong = { ...config, [name]: value } as NotificationClientConfig;
    expect(() => createNotificationClient(wrong)).toThrow(new RegExp(`^\`${name}\``));
  });

  it("may have what is good", () => {
    createNotificationClient({
      ...config,
      auth: () => Promise.resolve("token"),
      clientId: "ada-1_B",
      kind: "mobile",
      heartbeatInterval: 0.5,
      heartbeatTimeout: 1,
      batch: { maxSize: 100, maxDelay: 0 },
    });
    createNotificationClient({ ...config, batch: {} });
  });
});
