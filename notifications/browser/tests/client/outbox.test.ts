/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { ConnectionError, NotificationError } from "../../src/client/errors.ts";
import { Outbox } from "../../src/client/outbox.ts";
import { Requests } from "../../src/client/requests.ts";
import type { QueueConfig } from "../../src/client/types.ts";
import { Clock } from "./clock.ts";
import { settled } from "./world.ts";

interface Step {
  do: "publish" | "connect" | "lose" | "answer" | "refuse" | "wait" | "end";
  n?: number;
  ms?: number;
  throws?: string;
  code?: string;
  temporary?: boolean;
  retryAfter?: number;
  sent?: number[];
  rejected?: Record<string, string>;
  resolved?: number[];
}

const path = new URL("../../../../tests/vectors/queue.json", import.meta.url);
const { rows } = JSON.parse(readFileSync(path, "utf8")) as {
  rows: { name: string; queue: QueueConfig; steps: Step[] }[];
};

interface Sent {
  id: number;
  payload: number;
  idempotencyKey: string;
}

class Bench {
  readonly clock = new Clock();
  readonly requests = new Requests(() => undefined);
  readonly outbox: Outbox;
  sent: number[] = [];
  rejected: Record<string, string> = {};
  resolved: number[] = [];
  readonly #keys = new Map<number, string>();
  readonly #frames = new Map<number, Sent>();
  #ids = 0;

  constructor(queueConfig: QueueConfig) {
    this.outbox = new Outbox({
      config: { queueConfig },
      environment: {
        after: this.clock.after,
        elapsed: this.clock.now,
        newId: () => `key-${(this.#ids += 1)}`,
      },
      link: {
        sendText: (_type, text) => {
          this.#note(JSON.parse(text) as Sent);
        },
      },
      requests: this.requests,
    });
  }

  publish(n: number): void {
    const done = this.outbox.publish("user.1", n, {});
    done.then(
      () => this.resolved.push(n),
      (error: unknown) => {
        this.rejected[n] = error instanceof NotificationError ? error.code : "ENDED";
      },
    );
  }

  answer(n: number): void {
    const { id } = this.#frames.get(n) ?? expect.fail();
    const timestamp = new Date(0);
    const message = { messageId: "m", topic: "user.1", timestamp };
    expect(this.requests.answer(id, { type: "published", id, ...message })).toBe(true);
  }

  refuse({ n = 0, code = "", temporary = false, retryAfter }: Step): void {
    const { id } = this.#frames.get(n) ?? expect.fail();
    const error = new NotificationError(code, "", { temporary, retryAfter });
    expect(this.requests.answer(id, { type: "error", id, error })).toBe(true);
  }

  lose(): void {
    this.outbox.suspend();
    this.requests.lose();
  }

  /** Whatever is sent again goes under its first key. */
  #note(frame: Sent): void {
    const { payload, idempotencyKey } = frame;
    this.sent.push(payload);
    expect(this.#keys.get(payload) ?? idempotencyKey).toBe(idempotencyKey);
    this.#keys.set(payload, idempotencyKey);
    this.#frames.set(payload, frame);
  }
}

function act(bench: Bench, step: Step): void {
  const { n = 0, ms = 0 } = step;
  switch (step.do) {
    case "publish":
      if (step.throws === undefined) bench.publish(n);
      else expect(() => bench.publish(n)).toThrow(expect.objectContaining({ code: step.throws }));
      return;
    case "connect":
      bench.outbox.resume();
      return;
    case "lose":
      bench.lose();
      return;
    case "answer":
      bench.answer(n);
      return;
    case "refuse":
      bench.refuse(step);
      return;
    case "wait":
      bench.clock.advance(ms);
      return;
    case "end":
      bench.outbox.abandon(new ConnectionError("client_initiated", ""));
  }
}

it.each(rows)("$name", async ({ queue, steps }) => {
  const bench = new Bench(queue);
  for (const step of steps) {
    bench.sent = [];
    bench.rejected = {};
    bench.resolved = [];
    act(bench, step);
    await settled();
    const { sent, rejected, resolved } = bench;
    const wanted = { sent: [], rejected: {}, resolved: [], ...pick(step) };
    expect({ sent, rejected, resolved }, JSON.stringify(step)).toEqual(wanted);
  }
});

function pick({ sent, rejected, resolved }: Step): object {
  return Object.fromEntries(
    Object.entries({ sent, rejected, resolved }).filter(([, value]) => value !== undefined),
  );
}
