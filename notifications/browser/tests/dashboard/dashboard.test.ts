// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConnectionError, NotificationError } from "../../src/client/index.ts";
import { readConfig } from "../../src/dashboard/config.ts";
import { startDashboard } from "../../src/dashboard/dashboard.ts";
import { FakeClient, message } from "./fake-client.ts";
import { all, loadPage, one, settle, submit, type } from "./page.ts";

let client: FakeClient;
const copy = vi.fn<(text: string) => Promise<void>>();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
  vi.setSystemTime(new Date(2026, 0, 1, 12, 0, 0));
  client = new FakeClient();
  copy.mockReset();
  copy.mockResolvedValue(undefined);
  const root = loadPage();
  startDashboard(root, {
    client,
    copy,
    config: readConfig(root, "https://bell.example/"),
    post: () => Promise.reject(new Error("not used")),
    newKey: () => "key",
    schedule: (run) => {
      run();
    },
  });
});
afterEach(() => {
  vi.clearAllTimers();
  vi.useRealTimers();
});

const connected = {
  status: "connected",
  connectedAt: new Date(2026, 0, 1, 12, 0, 0),
  serverId: "server-1",
  latency: 12,
} as const;

function text(selector: string): string {
  return one(selector).textContent ?? "";
}

function notices(): string[] {
  return all("#notices .notice-text").map((notice) => notice.textContent ?? "");
}

function markers(): string[] {
  return all("#feed .marker span").map((marker) => marker.textContent ?? "");
}

async function subscribe(topic: string): Promise<void> {
  type("#subscribe-topic", topic);
  await submit("#subscribe-form");
}

describe("the connection", () => {
  it("is asked for when the page opens", () => {
    expect(client.calls).toEqual(["connect"]);
    expect(one("#connection-state").dataset["status"]).toBe("disconnected");
  });

  it.each([
    [
      { status: "connecting", attempt: 0, startedAt: new Date() },
      "Opening a connection.",
      "Cancel",
    ],
    [
      { status: "connecting", attempt: 2, startedAt: new Date() },
      "Retry 2 is under way.",
      "Cancel",
    ],
    [connected, "To server-1 since 12:00:00. Round trip 12 ms.", "Disconnect"],
    [
      { status: "disconnected", reason: "client_initiated" },
      "You disconnected. Messages are kept until you are back.",
      "Connect",
    ],
  ] as const)("in words: %o", (state, detail, action) => {
    client.go(state);
    expect(text("#connection-state")).toBe(state.status);
    expect(one("#connection-state").dataset["status"]).toBe(state.status);
    expect(text("#connection-detail")).toBe(detail);
    expect(text("#connection-action")).toBe(action);
  });

  it("counts down to the next retry, and announces the reason once", () => {
    client.go({
      status: "reconnecting",
      attempt: 3,
      lastError: new Error("the server restarts"),
      nextRetryAt: new Date(Date.now() + 4_000),
      backoffDelay: 4_000,
    });
    expect(text("#connection-announcement")).toBe("The server restarts.");
    expect(text("#connection-countdown")).toBe("Retry 3 in 4 s.");
    vi.advanceTimersByTime(2_500);
    expect(text("#connection-countdown")).toBe("Retry 3 in 2 s.");
    vi.advanceTimersByTime(2_000);
    expect(text("#connection-countdown")).toBe("Retry 3 now.");
    client.go(connected);
    expect(one("#connection-countdown").hidden).toBe(true);
    expect(text("#connection-announcement")).toBe("");
  });

  it("is ended and begun with the button", () => {
    client.go(connected);
    one("#connection-action").click();
    client.go({ status: "disconnected", reason: "client_initiated" });
    one("#connection-action").click();
    expect(client.calls).toEqual(["connect", "disconnect", "connect"]);
    expect(markers()).toEqual(["Disconnected."]);
  });

  it("that ended says why, in the server's words", () => {
    client.go(connected);
    const error = new ConnectionError("server_initiated", "session taken over", {
      closeCode: 4504,
    });
    client.emit({ type: "connection_ended", error });
    client.go({ status: "disconnected", reason: "server_initiated" });
    expect(text("#connection-detail")).toBe("Session taken over.");
    expect(one("#connection-lamp").dataset["trouble"]).toBe("true");
    expect(markers()).toEqual(["Connection lost."]);
  });

  it("that ended with the login leads to the login page", () => {
    const error = new ConnectionError("authentication_failed", "Log in again.");
    client.emit({ type: "connection_ended", error });
    expect(notices()).toEqual(["Your login has ended."]);
    expect(one("#notices a").getAttribute("href")).toBe("/login?next=/dashboard");
    one("#notices button").click();
    expect(notices()).toEqual([]);
  });
});

describe("the figures", () => {
  it("follow the client", () => {
    client.stats = {
      ...client.stats,
      messagesReceived: 1_234,
      reconnectCount: 2,
      averageLatency: 15,
      uptime: 65_000,
      lastHeartbeat: new Date(),
    };
    client.go(connected);
    const ids = ["#stat-received", "#stat-reconnects", "#stat-latency", "#stat-uptime"];
    expect(ids.map(text)).toEqual(["1,234", "2", "15 ms", "1 min 5 s"]);
  });
});

describe("subscribing", () => {
  it("starts from the user's own topics", () => {
    expect(one<HTMLInputElement>("#subscribe-form [name=topic]").value).toBe("user.7.**");
  });

  it("lists a subscription, counts its messages and shows them", async () => {
    await subscribe("user.7.*");
    const item = one("#subscriptions li[data-topic='user.7.*']");
    expect(item.dataset["phase"]).toBe("pending");
    client.asked[0]?.confirm();
    await settle();
    expect(item.dataset["phase"]).toBe("active");
    void client.asked[0]?.handler(message(1));
    expect(item.querySelector(".subscription-count")?.textContent).toBe("1");
    expect(all("#feed [data-message-id=m1]")).toHaveLength(1);
    expect(one("#subscriptions-empty").hidden).toBe(true);
  });

  it.each([
    ["user..x", "Write something before and after each dot."],
    ["", "Write a topic, such as user.1.orders."],
  ])("shows what is wrong with %j at the field", async (topic, problem) => {
    await subscribe(topic);
    expect(text("#subscribe-form [data-error-for=topic]")).toBe(problem);
    expect(client.asked).toEqual([]);
    type("#subscribe-topic", "user.7.a");
    expect(one("#subscribe-form [data-error-for=topic]").hidden).toBe(true);
  });

  it("shows the server's refusal at the field, and nothing in the list", async () => {
    await subscribe("user.8.*");
    const error = new NotificationError("FORBIDDEN", "You may not.");
    client.asked[0]?.refuse(error);
    const subscription = client.asked[0]?.subscription;
    if (subscription !== undefined)
      client.emit({ type: "subscription_ended", subscription, error });
    await settle();
    expect(text("#subscribe-form [data-error-for=topic]")).toBe("You may not.");
    expect(all("#subscriptions li")).toEqual([]);
    expect(notices()).toEqual([]);
  });

  it("refuses to list one twice", async () => {
    await subscribe("user.7.*");
    await subscribe("user.7.*");
    expect(client.asked).toHaveLength(1);
    expect(text("#subscribe-form [data-error-for=topic]")).toBe("You have this one already.");
  });

  it("ends with the button, which hands the focus on", async () => {
    await subscribe("user.7.a");
    await subscribe("user.7.b");
    one("#subscriptions li[data-topic='user.7.a'] button").click();
    expect(client.asked.map(({ active }) => active)).toEqual([false, true]);
    expect(all("#subscriptions li")).toHaveLength(1);
    expect(document.activeElement?.getAttribute("aria-label")).toBe("Unsubscribe from user.7.b");
    one("#subscriptions button").click();
    expect(document.activeElement?.id).toBe("subscribe-topic");
  });

  it("takes over what the server still holds", async () => {
    const unsubscribe = (): void => undefined;
    const orphan = { type: "orphan", topic: "user.7.**", createdAt: new Date(), unsubscribe } as const;
    client.emit(orphan);
    client.emit(orphan);
    expect(client.asked.map(({ topic }) => topic)).toEqual(["user.7.**"]);
    expect(all("#subscriptions li[data-topic='user.7.**']")).toHaveLength(1);
  });

  it("tells when the server ends one", async () => {
    await subscribe("user.7.*");
    client.asked[0]?.confirm();
    await settle();
    const subscription = client.asked[0]?.subscription;
    if (subscription === undefined) throw new Error("not asked");
    const error = new NotificationError("FORBIDDEN", "The grant was withdrawn.");
    client.emit({ type: "subscription_ended", subscription, error });
    expect(all("#subscriptions li")).toEqual([]);
    expect(notices()).toEqual(["user.7.*: The grant was withdrawn."]);
  });
});

describe("what happened in between", () => {
  it.each([
    [{ type: "recovered", count: 0 }, "Connected again. Nothing was missed."],
    [
      { type: "recovered", count: 1 },
      "Connected again. 1 missed message was delivered.",
    ],
    [
      { type: "recovered", count: 2 },
      "Connected again. 2 missed messages were delivered.",
    ],
    [{ type: "gap", reason: "SESSION_LOST" }, "Messages may be missing before this point."],
    [
      { type: "gap", reason: "EPOCH_CHANGED", cursor: { epoch: "x", offsets: {} } },
      "Messages may be missing before this point.",
    ],
  ] as const)("is marked in the feed: %o", (event, marker) => {
    client.emit(event);
    expect(markers()).toEqual([marker]);
  });

  it("keeps at most three notices, and none twice", () => {
    for (const words of ["a", "b", "b", "c", "d"]) {
      client.emit({ type: "server_error", error: new NotificationError("INTERNAL", words) });
    }
    client.emit({ type: "unreadable_frame", detail: "message" });
    expect(notices()).toEqual([
      "c",
      "d",
      "The server sent something that this page cannot read. Reload the page.",
    ]);
  });
});

describe("the example", () => {
  it("publishes to a topic that the page would show", async () => {
    expect(text("#curl-example")).toContain('"topic":"user.7.hello"');
    await subscribe("room.*.chat.**");
    expect(text("#curl-example")).toContain('"topic":"room.hello.chat.hello"');
    expect(text("#curl-example")).toContain("curl -X POST https://bell.example/api/v1/publish");
    expect(text("#feed-hint")).toContain("Waiting for messages");
  });

  it("is copied with the button", async () => {
    one("#curl-copy").click();
    await settle();
    expect(copy).toHaveBeenCalledExactlyOnceWith(text("#curl-example"));
    expect(text("#curl-copy")).toBe("Copied");
  });
});
