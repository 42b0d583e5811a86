// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from "vitest";
import { Feed, MAX_ROWS } from "../../src/dashboard/feed.ts";
import { message } from "./fake-client.ts";
import { all, loadPage, one, type } from "./page.ts";

let feed: Feed;
let painting: (() => void)[];

beforeEach(() => {
  painting = [];
  feed = new Feed(loadPage(), (run) => painting.push(run));
});

function paint(): void {
  const due = painting;
  painting = [];
  for (const run of due) run();
}

function shown(): string[] {
  return all("#feed > li:not([hidden])").map((row) => row.dataset["messageId"] ?? "marker");
}

describe("Feed", () => {
  it("tells what to do while it is empty", () => {
    expect(one("#feed-empty").hidden).toBe(false);
    feed.mark("Connection lost.", new Date());
    paint();
    expect(one("#feed-empty").hidden).toBe(false);
    feed.add(message(1));
    paint();
    expect(one("#feed-empty").hidden).toBe(true);
  });

  it("shows the newest on top, with its hooks", () => {
    feed.add(message(1));
    feed.add(message(2));
    paint();
    expect(shown()).toEqual(["m2", "m1"]);
    expect(one("#feed [data-message-id=m2]").dataset).toMatchObject({
      topic: "user.7.orders",
      seq: "2",
    });
  });

  it("paints a burst once", () => {
    for (let n = 1; n <= 50; n += 1) feed.add(message(n));
    expect(painting).toHaveLength(1);
    paint();
    expect(shown()).toHaveLength(50);
  });

  it("keeps a bounded number of rows, the newest", () => {
    for (let n = 1; n <= MAX_ROWS; n += 1) feed.add(message(n));
    paint();
    for (let n = MAX_ROWS + 1; n <= MAX_ROWS + 3; n += 1) feed.add(message(n));
    paint();
    expect(shown()).toHaveLength(MAX_ROWS);
    expect(shown()[0]).toBe(`m${MAX_ROWS + 3}`);
    expect(shown().at(-1)).toBe("m4");
  });

  it("keeps a bounded number while nothing is painted", () => {
    for (let n = 1; n <= MAX_ROWS + 5; n += 1) feed.add(message(n));
    paint();
    expect(shown()).toHaveLength(MAX_ROWS);
    expect(shown().at(-1)).toBe("m6");
  });

  it("shows a message of two subscriptions once", () => {
    feed.add(message(1));
    feed.add(message(1));
    paint();
    feed.add(message(1));
    paint();
    expect(shown()).toEqual(["m1"]);
  });

  it("treats topic, payload and metadata as text", () => {
    const hostile = '<img src=x onerror="document.title=1"><script>document.title=1</script>';
    feed.add(
      message(1, {
        topic: hostile,
        payload: { [hostile]: hostile },
        metadata: { source: hostile, correlationId: hostile, priority: "high" },
      }),
    );
    paint();
    const details = one<HTMLDetailsElement>("#feed details");
    details.open = true;
    details.dispatchEvent(new Event("toggle"));
    expect(all("#feed img, #feed script")).toEqual([]);
    expect(one("#feed .row-topic").textContent).toBe(hostile);
    expect(JSON.parse(one("#feed .row-json").textContent ?? "")).toEqual({ [hostile]: hostile });
    expect(one("#feed .row-facts").textContent).toContain(hostile);
  });

  it("marks priority and replay", () => {
    feed.add(message(1, { metadata: { priority: "urgent" }, replayed: true }));
    feed.add(message(2, { metadata: { priority: "normal" } }));
    paint();
    const marks = (id: string): string[] =>
      all(`#feed [data-message-id=${id}] .mark`).map((mark) => mark.textContent ?? "");
    expect([marks("m1"), marks("m2")]).toEqual([["urgent", "replayed"], []]);
  });

  it("holds messages while paused, bounded, and shows them after", () => {
    const button = one<HTMLButtonElement>("#feed-pause");
    feed.add(message(1));
    paint();
    button.click();
    expect(button.getAttribute("aria-pressed")).toBe("true");
    for (let n = 2; n <= MAX_ROWS + 10; n += 1) feed.add(message(n));
    paint();
    expect(shown()).toEqual(["m1"]);
    expect(button.textContent).toBe(`Resume (${MAX_ROWS})`);
    button.click();
    expect(shown()).toHaveLength(MAX_ROWS);
    expect(button.textContent).toBe("Pause");
  });

  it("does not paint what was scheduled before a pause", () => {
    feed.add(message(1));
    one("#feed-pause").click();
    paint();
    expect(shown()).toEqual([]);
  });

  it("clears", () => {
    feed.add(message(1));
    paint();
    one("#feed-clear").click();
    expect(shown()).toEqual([]);
    expect(one("#feed-empty").hidden).toBe(false);
  });

  it("filters by topic and payload, what is there and what comes", () => {
    feed.add(message(1, { topic: "user.7.Invoices" }));
    feed.add(message(2, { payload: "an invoice" }));
    feed.add(message(3));
    paint();
    type("#feed-filter", " INVOICE ");
    expect(shown()).toEqual(["m2", "m1"]);
    feed.add(message(4, { payload: "invoice" }));
    feed.add(message(5));
    paint();
    expect(shown()).toEqual(["m4", "m2", "m1"]);
    type("#feed-filter", "nothing like it");
    expect(one("#feed-none").hidden).toBe(false);
    type("#feed-filter", "");
    expect(shown()).toHaveLength(5);
  });

  it("opens all rows, and those that come, while expanded", () => {
    feed.add(message(1));
    paint();
    one("#feed-expand").click();
    feed.add(message(2));
    paint();
    const open = all("#feed details").map((row) => (row as HTMLDetailsElement).open);
    expect(open).toEqual([true, true]);
    expect(one("#feed [data-message-id=m2] .row-json").textContent).toBe('{\n  "n": 2\n}');
  });

  it("shows an ephemeral message without a number", () => {
    const { seq: _seq, position: _position, ...ephemeral } = message(1);
    feed.add({ ...ephemeral, payload: null });
    paint();
    expect(one("#feed [data-message-id]").dataset["seq"]).toBe("");
    expect(one("#feed .row-payload").textContent).toBe("null");
  });
});
