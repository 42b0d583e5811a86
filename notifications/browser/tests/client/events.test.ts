/** What went wrong is not lost where nobody listens. */
import { describe, expect, it, vi } from "vitest";
import { ConnectionError, NotificationError } from "../../src/client/errors.ts";
import { Events } from "../../src/client/events.ts";
import type { ClientEvent, NotificationMessage, Subscription } from "../../src/client/types.ts";

const error = new NotificationError("CONFLICT", "No.");
const grave: ClientEvent[] = [
  { type: "subscription_ended", subscription: {} as Subscription, error },
  { type: "connection_ended", error: new ConnectionError("timeout", "No.") },
  { type: "storage_failed", error },
  { type: "server_error", error },
  { type: "gap", reason: "TOO_MANY" },
];

describe("events", () => {
  it.each(grave)("say $type aloud where nobody listens", (event) => {
    const complain = vi.fn();
    new Events(complain).emit(event);
    expect(complain).toHaveBeenCalledExactlyOnceWith(event);
  });

  it("say aloud what a handler threw", () => {
    const complain = vi.fn();
    const message = {} as NotificationMessage;
    new Events(complain).emit({ type: "handler_error", error, message });
    expect(complain).toHaveBeenCalledExactlyOnceWith(error);
  });

  it("say nothing aloud that went well, or that somebody hears", () => {
    const complain = vi.fn();
    const events = new Events(complain);
    events.emit({ type: "recovered", count: 1 });
    events.emit({ type: "circuit", circuit: "open" });
    const heard: ClientEvent[] = [];
    const remove = events.listen((event) => heard.push(event));
    for (const event of grave) events.emit(event);
    expect(heard).toEqual(grave);
    remove();
    expect(complain).not.toHaveBeenCalled();
  });
});
