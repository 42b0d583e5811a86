/**
 * Random schedules: whatever happens to the connection, the server and the page, each handler sees
 * each message that is for it once, in order, and the states tell the truth.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import { BEHAVIOURS } from "./model-listener.ts";
import { Run, TOPICS } from "./model-run.ts";
import { settled } from "./world.ts";

type Step = (run: Run) => void | Promise<void>;

/** A step that says what it is when a schedule is printed. */
function step(name: string, act: Step): Step {
  return Object.assign(act, { toString: () => name, [fc.toStringMethod]: () => name });
}

const TARGETS = ["user.1.a", "user.1.b", "user.2.a", "user.3.a"] as const;
const BEGINNINGS = [
  {},
  {},
  { replayMissed: true },
  { since: { epoch: "x1", offsets: {} } },
] as const;

const publish = fc
  .tuple(fc.constantFrom(...TARGETS), fc.integer({ min: 1, max: 4 }))
  .map(([topic, count]) =>
    step(`publish ${count} to ${topic}`, (run) => {
      for (let n = 0; n < count; n += 1) run.server.publish(topic);
    }),
  );
const flow = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4 })).map(
  ([times, batch]) =>
    step(`flow ${times} by ${batch}`, async (run) => {
      for (let n = 0; n < times; n += 1) {
        run.flow(batch);
        await settled();
      }
    }),
);
/** Messages are published all the time, and the server is slow to answer. */
const rush = fc
  .tuple(fc.constantFrom(...TARGETS), fc.integer({ min: 4, max: 20 }))
  .map(([topic, times]) =>
    step(`rush ${times} to ${topic}`, async (run) => {
      for (let n = 0; n < times; n += 1) {
        run.server.publish(topic);
        run.flow(3, n % 4 === 0);
        await settled();
      }
    }),
  );
const tick = fc
  .constantFrom(1, 10, 50, 250, 1_100)
  .map((ms) => step(`wait ${ms}`, (run) => run.clock.advance(ms)));
const subscribe = fc
  .tuple(fc.constantFrom(...TOPICS), fc.constantFrom(...BEHAVIOURS), fc.constantFrom(...BEGINNINGS))
  .map(([topic, behaviour, options]) =>
    step(`subscribe to ${topic}, ${behaviour}, ${JSON.stringify(options)}`, (run) => {
      run.subscribe(topic, behaviour, options);
    }),
  );
const newest = fc.integer({ min: 1, max: 4 }).map((last) =>
  step(`subscribe to the last ${last}`, (run) => {
    run.subscribe("user.2.a", "plain", { since: { last } });
  }),
);
const unsubscribe = fc.nat(5).map((index) =>
  step(`unsubscribe ${index}`, (run) => {
    run.listeners[index]?.leave();
  }),
);
const settle = fc.nat(3).map((index) =>
  step(`end handler ${index}`, (run) => {
    run.slow.splice(index, 1)[0]?.();
  }),
);
const cut = fc
  .constantFrom(1006, 4408, 4409, 1013)
  .map((code) => step(`cut ${code}`, (run) => run.cut(code)));
const wake = fc.constant(step("wake", (run) => run.wake()));
const refuse = fc.integer({ min: 1, max: 5 }).map((times) =>
  step(`refuse ${times}`, (run) => {
    run.refuse(times);
  }),
);
const restart = (...losses: ("nothing" | "sessions" | "everything")[]): fc.Arbitrary<Step> =>
  fc
    .constantFrom(...losses)
    .map((loses) => step(`restart, losing ${loses}`, (run) => run.restart(loses)));
const reload = fc
  .boolean()
  .map((isLate) => step(`reload${isLate ? ", late" : ""}`, (run) => run.reload(isLate)));

const common = [
  { arbitrary: publish, weight: 6 },
  { arbitrary: flow, weight: 10 },
  { arbitrary: rush, weight: 4 },
  { arbitrary: tick, weight: 4 },
  { arbitrary: subscribe, weight: 3 },
  { arbitrary: newest, weight: 1 },
  { arbitrary: unsubscribe, weight: 1 },
  { arbitrary: settle, weight: 4 },
  { arbitrary: cut, weight: 3 },
  { arbitrary: wake, weight: 1 },
  { arbitrary: refuse, weight: 1 },
];

async function play(steps: readonly Step[], checkCursor: boolean): Promise<void> {
  const run = new Run();
  run.subscribe = run.subscribe.bind(run);
  run.start();
  for (const act of steps) {
    await act(run);
    await settled();
    run.check(checkCursor);
  }
  await run.finish();
}

/** Short ones are cheap and shrink well; long ones find what takes several faults. */
const LENGTH = { minLength: 1, maxLength: 60, size: "max" } as const;
const RUNS = { numRuns: Number(process.env["SCHEDULES"] ?? 300), seed: 5 };

it("holds while connections break and the server forgets", { timeout: 120_000 }, async () => {
  const losses = restart("nothing", "sessions", "everything");
  const steps = fc.array(fc.oneof(...common, { arbitrary: losses, weight: 3 }), LENGTH);
  await fc.assert(
    fc.asyncProperty(steps, (schedule) => play(schedule, false)),
    RUNS,
  );
});

it("holds while pages reload, and the cursor passes nothing", { timeout: 120_000 }, async () => {
  const losses = restart("nothing", "sessions");
  const extra = [
    { arbitrary: losses, weight: 2 },
    { arbitrary: reload, weight: 2 },
  ];
  const steps = fc.array(fc.oneof(...common, ...extra), LENGTH);
  await fc.assert(
    fc.asyncProperty(steps, (schedule) => play(schedule, true)),
    RUNS,
  );
});

it("sees a message, at the least", async () => {
  const run = new Run();
  run.start();
  run.subscribe("user.**", "plain", {});
  for (let n = 0; n < 8; n += 1) {
    run.flow(1);
    await settled();
  }
  run.server.publish("user.1.a");
  await run.finish();
  expect(run.client.getStats().messagesReceived).toBe(1);
});
