// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { NotificationError } from "../../src/client/index.ts";
import { csrfToken, newPost } from "../../src/dashboard/http.ts";
import { newTokenSource } from "../../src/dashboard/token.ts";
import { loadPage } from "./page.ts";

function answering(status: number, body: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return vi.fn<typeof fetch>().mockResolvedValue(new Response(text, { status, headers }));
}

async function refusal(fetcher: typeof fetch): Promise<NotificationError> {
  try {
    await newPost(fetcher, () => "csrf")("/x", {});
  } catch (error) {
    return error as NotificationError;
  }
  throw new Error("not refused");
}

describe("post", () => {
  it("sends JSON with the CSRF token and reads JSON", async () => {
    const fetcher = answering(201, { id: "m1" });
    const answer = await newPost(fetcher, () => "csrf")("/publish", { a: 1 });
    expect(answer).toEqual({ id: "m1" });
    const [url, init] = fetcher.mock.calls[0] ?? [];
    expect(url).toBe("/publish");
    expect(init).toMatchObject({
      method: "POST",
      credentials: "same-origin",
      body: '{"a":1}',
      headers: { "X-CSRFToken": "csrf", "Content-Type": "application/json" },
    });
  });

  it.each([
    [
      429,
      { code: "RATE_LIMITED", detail: "Slow down." },
      { "Retry-After": "3" },
      { code: "RATE_LIMITED", message: "Slow down.", retryAfter: 3_000, temporary: true },
    ],
    [
      403,
      { code: "FORBIDDEN", title: "No grant." },
      {},
      { code: "FORBIDDEN", message: "No grant.", temporary: false, retryAfter: undefined },
    ],
    [
      503,
      "<h1>Bad gateway</h1>",
      {},
      { code: "HTTP_503", message: "The server answered with status 503.", temporary: true },
    ],
    [
      401,
      { code: "TOKEN_EXPIRED" },
      {},
      { code: "UNAUTHENTICATED", message: "Your login has ended. Log in again." },
    ],
    [200, "<form>Log in</form>", {}, { code: "UNAUTHENTICATED" }],
  ])("refuses with %d as the server's problem", async (status, body, headers, expected) => {
    expect(await refusal(answering(status, body, headers))).toMatchObject(expected);
  });

  it("says when nobody answers", async () => {
    const fetcher = vi.fn<typeof fetch>().mockRejectedValue(new TypeError("offline"));
    expect(await refusal(fetcher)).toMatchObject({ code: "UNREACHABLE", temporary: true });
  });
});

describe("csrfToken", () => {
  beforeEach(() => {
    loadPage();
  });

  it("is the form's where scripts may not read the cookie", () => {
    expect(csrfToken(document)).toBe("masked");
  });

  it("is the cookie's where they may, as a login elsewhere changes it", () => {
    document.cookie = "csrftoken=secret";
    expect(csrfToken(document)).toBe("secret");
    document.cookie = "csrftoken=; max-age=0";
  });
});

describe("the token source", () => {
  const source = (fetcher: typeof fetch): Promise<string> =>
    newTokenSource(
      newPost(fetcher, () => ""),
      "/token",
    )();

  it("gives the access token", async () => {
    await expect(source(answering(200, { access: "t", expiresIn: 9 }))).resolves.toBe("t");
  });

  it.each([
    ["without a login", 401, {}, "UNAUTHENTICATED", false],
    ["with a stale CSRF token", 403, "<h1>CSRF</h1>", "UNAUTHENTICATED", false],
    ["for whom it is forbidden", 403, { code: "FORBIDDEN" }, "UNAUTHENTICATED", false],
    ["from a server in trouble", 503, { code: "UNAVAILABLE" }, "UNAVAILABLE", true],
    ["from an answer without one", 200, {}, "INTERNAL", true],
  ])("gives none %s", async (_who, status, body, code, temporary) => {
    await expect(source(answering(status, body))).rejects.toMatchObject({ code, temporary });
  });
});
