/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import {
  IllegalTransition,
  type StateEvent,
  StateMachine,
  type Status,
  next,
} from "../../src/client/state.ts";

interface Row {
  from: Status;
  event: StateEvent;
  to: Status | null;
}

const path = new URL("../../../../tests/vectors/states.json", import.meta.url);
const { transitions } = JSON.parse(readFileSync(path, "utf8")) as { transitions: Row[] };

describe("next", () => {
  it.each(transitions)("$from, $event: $to", ({ from, event, to }) => {
    if (to === null) expect(() => next(from, event)).toThrow(IllegalTransition);
    else expect(next(from, event)).toBe(to);
  });
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

  it("tells a listener no more that was removed", () => {
    const machine = new StateMachine(() => undefined);
    const [listener, other] = [vi.fn(), vi.fn()];
    const remove = machine.listen(listener);
    machine.listen(other);
    remove();
    machine.move("try", connecting);
    expect(listener).not.toHaveBeenCalled();
    expect(other).toHaveBeenCalledOnce();
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
