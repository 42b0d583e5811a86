/** Everything at once, in orders that chance chooses: nothing is lost, nothing comes twice. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Reader } from "./reader.ts";
import { type Tab, Tabs, expected } from "./world.ts";

const TOPICS = ["a.x", "a.y", "b.z", "a.*"] as const;

type Act =
  | { readonly kind: "publish"; readonly topic: string }
  | { readonly kind: "open" | "cut" | "wait" }
  | { readonly kind: "reload" | "crash" | "giveUp" | "hide"; readonly tab: number }
  | { readonly kind: "subscribe"; readonly tab: number; readonly topic: string };

const index = fc.nat({ max: 3 });
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("publish" as const), topic: fc.constantFrom("a.x", "a.y", "b.z") }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("subscribe" as const), tab: index, topic: fc.constantFrom(...TOPICS) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("reload" as const, "giveUp" as const), tab: index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("crash" as const, "hide" as const), tab: index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("open" as const, "cut" as const, "wait" as const) }) },
);

/** Between two acts this many things happen; the choices say which. */
const schedule = fc.record({
  acts: fc.array(fc.record({ act, steps: fc.nat({ max: 12 }) }), { minLength: 5, maxLength: 40 }),
  choices: fc.infiniteStream(fc.nat({ max: 1_000 })),
});

it("keeps its promise whatever the order", async () => {
  await fc.assert(
    fc.asyncProperty(schedule, async ({ acts, choices }) => {
      const tabs = new Tabs((count) => Number(choices.next().value) % count || 0);
      tabs.start();
      tabs.start();
      for (const { act: one, steps } of acts) {
        perform(tabs, one);
        for (let count = 0; count < steps; count += 1) await tabs.scheduler.step();
      }
      // Readers that were put aside come back, so that all can be asked.
      for (const tab of tabs.all) tab.page.show();
      await tabs.pass(8_000);
      for (const { reader } of tabs.all) {
        expect(reader.isReady).toBe(true);
        expect(reader.lost).toBe(0);
        expect([...reader.got.keys()].sort()).toEqual([...reader.wants].sort());
        for (const [topic, ids] of reader.got) check(tabs, reader, topic, ids);
      }
      expect(tabs.upstream.open).toHaveLength(1);
      for (const { page } of tabs.all) expect(page.complaints).toEqual([]);
    }),
    { numRuns: Number(process.env["RUNS"] ?? 200), seed: Number(process.env["SEED"] ?? 5), endOnFailure: false },
  );
}, 120_000);

/** All that followed its beginning, once, in the order of each partition. */
function check(tabs: Tabs, reader: Reader, topic: string, ids: readonly string[]): void {
  const [got, due] = [ids, expected(tabs, topic, reader)].map((list) => inPartitions(tabs, list));
  const begun = due?.map((part, partition) => (got?.[partition] ?? []).slice(-part.length || Infinity));
  expect(begun).toEqual(due);
  expect(new Set(ids).size).toBe(ids.length);
  // What was on its way when it began may come before that.
  const order = tabs.upstream.log.map(({ id }) => id);
  const all = order.filter((id) => ids.includes(id));
  expect(got).toEqual(inPartitions(tabs, all));
}

/** Order is promised within a partition. */
function inPartitions({ upstream }: Tabs, ids: readonly string[]): string[][] {
  const partitionOf = new Map(upstream.log.map(({ id, position }) => [id, position[0]]));
  return [0, 1].map((partition) => ids.filter((id) => partitionOf.get(id) === partition));
}

function perform(tabs: Tabs, one: Act): void {
  switch (one.kind) {
    case "publish":
      tabs.upstream.publish(one.topic);
      return;
    case "open":
      if (tabs.all.length < 4) tabs.start();
      return;
    case "cut":
      for (const connection of tabs.upstream.open) connection.close(1006);
      return;
    case "wait":
      // In all not so long that what a tab wanted is released.
      if (tabs.browser.clock.time < Date.UTC(2026, 0, 1) + 8_000) tabs.browser.clock.advance(1_000);
      return;
    default:
      if ("tab" in one) performOn(tabs, tabs.all[one.tab % tabs.all.length], one);
  }
}

function performOn(tabs: Tabs, tab: Tab | undefined, one: Act): void {
  if (tab === undefined) return;
  switch (one.kind) {
    case "subscribe":
      tab.reader.want(one.topic);
      return;
    case "reload":
      tabs.reload(tab);
      return;
    case "giveUp":
      if (tab.reader.isReady) tab.reader.giveUp(); // twice without an answer is a matter of its own
      return;
    case "crash":
      if (tabs.all.length < 3) return;
      tab.page.crash();
      tabs.all.splice(tabs.all.indexOf(tab), 1);
      return;
    case "hide":
      tab.page.hide();
      return;
  }
}
