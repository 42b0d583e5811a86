/** What is to end at the server: asked for until it has said so. */
import { ASK_AGAIN } from "./replays.ts";
import type { SubscriptionsContext } from "./subscriptions-context.ts";

/** Topics that are to end. Policy: one more is not noted, see `add`. */
const MAX_LEFT = 1_000;

export class Endings {
  readonly #context: SubscriptionsContext;
  topics = new Set<string>();

  constructor(context: SubscriptionsContext) {
    this.#context = context;
  }

  /** Have it ended on the next connection. One that is not noted, and held there, is an orphan. */
  add(topic: string): void {
    if (this.topics.size < MAX_LEFT) this.topics.add(topic);
  }

  /** Give back what there is, to be looked for in what the server holds. */
  take(): ReadonlySet<string> {
    const topics = this.topics;
    this.topics = new Set();
    return topics;
  }

  /** Ask now. */
  ask(topic: string, subscriptionId: string): void {
    const { environment, requests } = this.#context;
    this.add(topic);
    requests.ask({ type: "unsubscribe", subscriptionId }, {
      ok: () => {
        this.topics.delete(topic);
      },
      refused: (error) => {
        if (!error.temporary) this.topics.delete(topic); // it is gone already
        else {
          environment.after(error.retryAfter ?? ASK_AGAIN, () => {
            if (this.topics.has(topic)) this.ask(topic, subscriptionId);
          });
        }
      },
    });
  }
}
