/** Decides what happens next, where a real browser and network would. */

/** Gives an index below `count`. */
export type Choice = (count: number) => number;

/**
 * Queues of things that will happen. Each queue keeps its order, as a channel or a socket does;
 * which queue is next is a choice.
 */
export class Scheduler {
  readonly #queues = new Map<string, (() => void)[]>();
  readonly #choose: Choice;

  constructor(choose: Choice = () => 0) {
    this.#choose = choose;
  }

  add(queue: string, run: () => void): void {
    const waiting = this.#queues.get(queue);
    if (waiting === undefined) this.#queues.set(queue, [run]);
    else waiting.push(run);
  }

  /** Let one thing happen; false when nothing waits. Promises settle before and after. */
  async step(): Promise<boolean> {
    await settled();
    const names = [...this.#queues.keys()];
    const name = names[this.#choose(names.length)];
    if (name === undefined) return false;
    const waiting = this.#queues.get(name) ?? [];
    const run = waiting.shift();
    if (waiting.length === 0) this.#queues.delete(name);
    run?.();
    await settled();
    return true;
  }

  /** Let everything happen that was going to. */
  async drain(): Promise<void> {
    for (let steps = 0; await this.step(); steps += 1) {
      if (steps > 50_000) throw new Error("it never ends");
    }
  }
}

/** Wait until promises that can settle have. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
