// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { NotificationError } from "../../src/client/index.ts";
import type { Post } from "../../src/dashboard/http.ts";
import { PublishForm } from "../../src/dashboard/publish-form.ts";
import { loadPage, one, submit, type } from "./page.ts";

const URL_ = "https://bell.example/api/v1/publish";
const post = vi.fn<Post>();
let keys: number;

beforeEach(() => {
  post.mockReset();
  post.mockResolvedValue({ id: "m1", topic: "user.7.hello", seq: 5 });
  keys = 0;
  new PublishForm(loadPage(), URL_, post, () => `key-${(keys += 1)}`);
});

function error(name: string): string {
  const place = one(`#publish-form [data-error-for=${name}]`);
  return place.hidden ? "" : (place.textContent ?? "");
}

describe("PublishForm", () => {
  it("publishes what the form says and shows where it went", async () => {
    type("#publish-payload", '{"a": [1, 2]}');
    one<HTMLSelectElement>("#publish-priority").value = "high";
    await submit("#publish-form");
    expect(post).toHaveBeenCalledExactlyOnceWith(URL_, {
      topic: "user.7.hello",
      payload: { a: [1, 2] },
      metadata: { priority: "high" },
      idempotencyKey: "key-1",
    });
    expect(one("#publish-result").textContent).toBe("Published to user.7.hello as #5.\nid m1");
  });

  it("shows where the JSON breaks, and puts the cursor there", async () => {
    type("#publish-payload", '{"a": 1,\n  b: 2}');
    await submit("#publish-form");
    expect(post).not.toHaveBeenCalled();
    expect(error("payload")).toBe('Line 2, column 3: a key in double quotes (") is missing.');
    const field = one<HTMLTextAreaElement>("#publish-payload");
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(document.activeElement).toBe(field);
    expect(field.selectionStart).toBe(11);
  });

  it("shows a bad topic at its field", async () => {
    type("#publish-topic", "user.*");
    await submit("#publish-form");
    expect(post).not.toHaveBeenCalled();
    expect(error("topic")).toContain("Wildcards");
    expect(document.activeElement?.id).toBe("publish-topic");
  });

  it("takes an error away as soon as the field changes", async () => {
    type("#publish-payload", "{");
    await submit("#publish-form");
    type("#publish-payload", "{}");
    expect(error("payload")).toBe("");
    expect(one("#publish-payload").hasAttribute("aria-invalid")).toBe(false);
  });

  it("shows the server's refusal at the form, with what to do", async () => {
    const details = { temporary: true, retryAfter: 3_000 };
    post.mockRejectedValue(new NotificationError("RATE_LIMITED", "Slow down.", details));
    await submit("#publish-form");
    expect(error("form")).toBe("Slow down. Try again in 3 s.");
    expect(one("#publish-result").textContent).toBe("");
  });

  it("tries again under the same key until the contents change or it succeeded", async () => {
    post.mockRejectedValueOnce(new NotificationError("UNREACHABLE", "Gone."));
    await submit("#publish-form");
    await submit("#publish-form");
    await submit("#publish-form");
    type("#publish-payload", "1");
    await submit("#publish-form");
    const used = post.mock.calls.map(([, body]) => body["idempotencyKey"]);
    expect(used).toEqual(["key-1", "key-1", "key-2", "key-3"]);
  });

  it("does not publish twice at once", async () => {
    let finish!: () => void;
    post.mockReturnValueOnce(
      new Promise((resolve) => {
        finish = () => {
          resolve({ id: "m1", topic: "a", seq: 1, duplicate: true });
        };
      }),
    );
    await submit("#publish-form");
    await submit("#publish-form");
    expect(post).toHaveBeenCalledOnce();
    expect(one("#publish-form [type=submit]").getAttribute("aria-disabled")).toBe("true");
    finish();
    await submit("#subscribe-form");
    expect(one("#publish-form [type=submit]").getAttribute("aria-disabled")).toBe("false");
    expect(one("#publish-result").textContent).toContain("stored already");
  });
});
