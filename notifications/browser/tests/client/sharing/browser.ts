/** A model of a browser: pages with locks, channels and storage, that can crash. */
import type { Environment } from "../../../src/client/environment.ts";
import { Sharing } from "../../../src/client/sharing/sharing.ts";
import type { Store, Surroundings } from "../../../src/client/sharing/surroundings.ts";
import { memoryStorage } from "../../../src/client/storage.ts";
import { Clock } from "../clock.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Connection, Upstream } from "./upstream.ts";

interface Waiting {
  readonly page: Page;
  readonly granted: () => Promise<void>;
  isHolder?: true;
}

interface Listener {
  readonly page: Page;
  readonly name: string;
  readonly number: string;
  readonly heard: (message: unknown) => void;
}

export class FakeBrowser {
  readonly clock = new Clock();
  readonly local: Store = memory();
  readonly listeners = new Set<Listener>();
  readonly scheduler: Scheduler;
  readonly upstream: Upstream;
  /** By name: who holds it is first. */
  readonly #locks = new Map<string, Waiting[]>();
  #ids = 0;

  constructor(scheduler: Scheduler, upstream: Upstream) {
    this.scheduler = scheduler;
    this.upstream = upstream;
  }

  newId(): string {
    return `id-${(this.#ids += 1)}`;
  }

  page(session: Store = memory()): Page {
    return new Page(this, session);
  }

  request(name: string, waiting: Waiting): void {
    const queue = this.#locks.get(name) ?? [];
    this.#locks.set(name, queue);
    if (queue.push(waiting) === 1) this.#grant(name);
  }

  post(from: Listener, message: object): void {
    const copy = structuredClone(message);
    for (const listener of this.listeners) {
      if (listener === from || listener.name !== from.name) continue;
      // Each listener hears one poster in order; nothing is promised of several.
      this.scheduler.add(`channel ${from.number} to ${listener.number}`, () => {
        if (this.listeners.has(listener) && !listener.page.isHung) listener.heard(copy);
      });
    }
  }

  /** Everything of a page ends; nobody is told but through its locks and sockets. */
  end(page: Page): void {
    for (const listener of this.listeners) if (listener.page === page) this.listeners.delete(listener);
    for (const [name, queue] of this.#locks) {
      const held = queue[0]?.page === page;
      const left = queue.filter((waiting) => waiting.page !== page);
      this.#locks.set(name, left);
      if (held && left.length > 0) this.#grant(name);
    }
    for (const socket of page.sockets) socket.leave();
  }

  holder(name: string): Page | undefined {
    return this.#locks.get(name)?.[0]?.page;
  }

  #grant(name: string): void {
    this.scheduler.add(`lock ${name}`, () => {
      const [first] = this.#locks.get(name) ?? [];
      if (first === undefined || first.isHolder) return;
      first.isHolder = true;
      void first.granted().then(() => {
        const queue = this.#locks.get(name) ?? [];
        if (queue[0] !== first) return;
        queue.shift();
        if (queue.length > 0) this.#grant(name);
      });
    });
  }
}

export class Page {
  readonly sockets: Connection[] = [];
  readonly complaints: unknown[] = [];
  readonly sharing: Sharing;
  readonly session: Store;
  hide: () => void = () => undefined;
  show: () => void = () => undefined;
  isHung = false;
  refusesToOpen = false;
  forbidsLocks = false;
  #isAlive = true;
  readonly #browser: FakeBrowser;

  constructor(browser: FakeBrowser, session: Store) {
    this.#browser = browser;
    this.session = session;
    this.sharing = new Sharing(this.#surroundings());
  }

  crash(): void {
    this.#isAlive = false;
    this.#browser.end(this);
  }

  get environment(): Environment {
    const { clock, upstream } = this.#browser;
    return {
      now: clock.now,
      elapsed: clock.now,
      after: (delay, run) =>
        clock.after(delay, () => {
          if (this.#isAlive) run();
        }),
      random: () => 0.5,
      newId: () => this.#browser.newId(),
      open: (_url, _protocol, events) => {
        if (this.refusesToOpen) throw new Error("malformed");
        if (!this.#isAlive) return { send: () => undefined, close: () => undefined };
        const connection = upstream.accept({
          received: (text) => {
            if (this.#isAlive) events.received(text);
          },
          closed: (code) => {
            if (this.#isAlive) events.closed(code);
          },
        });
        this.sockets.push(connection);
        this.#browser.scheduler.add(`opens ${this.#browser.newId()}`, () => {
          if (this.#isAlive && connection.isOpen) events.opened();
        });
        return {
          send: (text) => {
            connection.send(text);
          },
          close: () => {
            connection.leave();
          },
        };
      },
      kind: "browser",
      storage: () => memoryStorage(),
      claim: () => Promise.resolve(true),
      onWake: () => () => undefined,
      onHide: () => () => undefined,
      debug: () => undefined,
      complain: (error) => {
        this.complaints.push(error);
      },
    };
  }

  #surroundings(): Surroundings {
    const browser = this.#browser;
    return {
      environment: this.environment,
      name: (_url, token) => Promise.resolve(`group ${token.split(":")[0]}`),
      lock: (name, granted) => {
        if (this.forbidsLocks) return Promise.reject(new Error("forbidden"));
        // Promises of a page that is no more still settle here; they must do nothing.
        if (this.#isAlive) browser.request(name, { page: this, granted });
        return new Promise(() => undefined);
      },
      channel: (name, heard) => {
        const number = browser.newId();
        const listener = { page: this, name, number, heard };
        if (this.#isAlive) browser.listeners.add(listener);
        return {
          post: (message) => {
            if (browser.listeners.has(listener)) browser.post(listener, message);
          },
          close: () => {
            browser.listeners.delete(listener);
          },
        };
      },
      session: this.session,
      local: browser.local,
      onPage: (hide, show) => {
        this.hide = hide;
        this.show = show;
        return () => undefined;
      },
    };
  }
}

export function memory(): Store {
  const texts = new Map<string, string>();
  return {
    get: (key) => texts.get(key),
    set: (key, text) => {
      texts.set(key, text);
    },
  };
}
