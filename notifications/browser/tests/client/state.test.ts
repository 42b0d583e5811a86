import { describe, expect, it, vi } from "vitest";
import { IllegalTransition, StateMachine, next } from "../../src/client/state.ts";

const STATUSES = ["disconnected", "connecting", "connected", "reconnecting"] as const;
const EVENTS = ["try", "establish", "lose", "end"] as const;
const LEGAL = new Map([
  ["disconnected try", "connecting"],
  ["connecting establish", "connected"],
  ["connecting lose", "reconnecting"],
  ["connecting end", "disconnected"],
  ["connected lose", "reconnecting"],
  ["connected end", "disconnected"],
  ["reconnecting try", "connecting"],
  ["reconnecting end", "disconnected"],
]);

describe("next", () => {
  it.each(STATUSES.flatMap((status) => EVENTS.map((event) => [status, event] as const)))(
    "%s, %s",
    (status, event) => {
      const after = LEGAL.get(`${status} ${event}`);
      if (after === undefined) expect(() => next(status, event)).toThrow(IllegalTransition);
      else expect(next(status, event)).toBe(after);
    },
  );
});

describe("StateMachine", () => {
  const connecting = { status: "connecting", attempt: 0, startedAt: new Date(0) } as const;

  it("tells every listener, also after one threw", () => {
    const complain = vi.fn();
    const listener = vi.fn();
    const machine = new StateMachine(complain);
    machine.listen(() => {
      throw new Error("mine");
    });
    machine.listen(listener);
    machine.move("try", connecting);
    expect(listener).toHaveBeenCalledExactlyOnceWith(connecting);
    expect(complain).toHaveBeenCalledOnce();
  });

  it("refuses a state that the event does not lead to", () => {
    const machine = new StateMachine(() => undefined);
    expect(() => {
      machine.move("try", { status: "disconnected" });
    }).toThrow(IllegalTransition);
    expect(machine.state.status).toBe("disconnected");
  });

  it("notes a latency without telling anybody", () => {
    const machine = new StateMachine(() => undefined);
    machine.move("try", connecting);
    const connectedAt = new Date(0);
    machine.move("establish", { status: "connected", connectedAt, serverId: "s", latency: 9 });
    const listener = vi.fn();
    machine.listen(listener);
    machine.measure(3);
    expect(machine.state).toMatchObject({ status: "connected", latency: 3 });
    expect(listener).not.toHaveBeenCalled();
  });
});
