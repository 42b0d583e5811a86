// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/dashboard/config.ts";
import { loadPage } from "./page.ts";

describe("readConfig", () => {
  it.each([
    ["https://bell.example/", "wss://bell.example/ws", "https://bell.example/api/v1/publish"],
    ["http://localhost:8000/", "ws://localhost:8000/ws", "http://localhost:8000/api/v1/publish"],
  ])("on %s", (base, socketUrl, publishUrl) => {
    expect(readConfig(loadPage(), base)).toEqual({
      socketUrl,
      publishUrl,
      tokenUrl: "/dashboard-token",
      loginUrl: "/login?next=/dashboard",
      userId: "7",
    });
  });

  it("says what the template forgot", () => {
    const root = loadPage();
    delete root.dataset["tokenUrl"];
    expect(() => readConfig(root, "http://localhost/")).toThrow("data-tokenUrl");
  });
});
