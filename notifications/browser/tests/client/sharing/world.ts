/** A browser with tabs, a server, and a scheduler between them. */
import { FakeBrowser, type Page, memory } from "./browser.ts";
import { Reader } from "./reader.ts";
import { type Choice, Scheduler } from "./scheduler.ts";
import { type Connection, Upstream } from "./upstream.ts";

export interface Tab {
  page: Page;
  reader: Reader;
}

export class Tabs {
  readonly scheduler: Scheduler;
  readonly upstream: Upstream;
  readonly browser: FakeBrowser;
  readonly all: Tab[] = [];

  constructor(choose?: Choice) {
    this.scheduler = new Scheduler(choose);
    this.upstream = new Upstream(this.scheduler);
    this.browser = new FakeBrowser(this.scheduler, this.upstream);
  }

  /** A tab that begins to connect. `token`: the user, and whatever follows a colon. */
  start(token = "ada"): Tab {
    const page = this.browser.page(memory());
    const reader = new Reader(page, token, `client-${this.all.length}`);
    const tab = { page, reader };
    this.all.push(tab);
    reader.connect();
    return tab;
  }

  async open(token?: string): Promise<Tab> {
    const tab = this.start(token);
    await this.scheduler.drain();
    return tab;
  }

  async subscribed(topic: string, options?: Record<string, unknown>): Promise<Tab> {
    const tab = await this.open();
    tab.reader.subscribe(topic, options);
    await this.scheduler.drain();
    return tab;
  }

  /** The page ends and begins again, with what its session storage has. */
  reload(tab: Tab): void {
    const { saved, got, begins } = tab.reader;
    tab.page.crash();
    tab.page = this.browser.page(tab.page.session);
    tab.reader = new Reader(tab.page, "ada", "", saved);
    for (const [topic, ids] of got) tab.reader.got.set(topic, ids);
    for (const [topic, begin] of begins) tab.reader.begins.set(topic, begin);
    tab.reader.connect();
  }

  /** Let time pass, and all that it brings happen. */
  async pass(duration: number): Promise<void> {
    for (let left = duration; left > 0; left -= 1_000) {
      this.browser.clock.advance(Math.min(left, 1_000));
      await this.scheduler.drain();
    }
  }

  /** Retry at once where a client would, and let all of it happen. */
  async settle(): Promise<void> {
    await this.scheduler.drain();
    await this.pass(5_000);
  }

  get leader(): Tab | undefined {
    const page = this.browser.holder("group ada");
    return this.all.find((tab) => tab.page === page);
  }

  /** The one connection that there should be. */
  get connection(): Connection {
    const [connection, another] = this.upstream.open;
    if (connection === undefined || another !== undefined) {
      throw new Error(`${this.upstream.open.length} connections`);
    }
    return connection;
  }
}

/** What a subscription should have been given: all that was published after it began. */
export function expected({ upstream }: Tabs, topic: string, reader: Reader): string[] {
  const begin = reader.begins.get(topic) ?? {};
  return upstream.log
    .filter((message) => {
      const [partition, offset] = message.position;
      const isOfIt = topic.endsWith("*")
        ? message.topic.startsWith(topic.slice(0, -1))
        : message.topic === topic;
      return isOfIt && offset > (begin[String(partition)] ?? 0);
    })
    .map(({ id }) => id);
}
