/** The tabs that share a socket, as one of them takes part. */
import type { Channel, Surroundings } from "./surroundings.ts";
import { Switchboard } from "./switchboard.ts";
import type { Announcement, ToLeader, ToTab } from "./wire.ts";

export interface GroupEvents {
  /** The leading tab says something. */
  heard(message: ToTab): void;
  /** Another tab leads, or this one does: who spoke to the one before has lost it. */
  led(): void;
}

export class Group {
  readonly name: string;
  /** Resolves when others can tell that this tab lives: then it may speak. Rejects: it never can. */
  readonly ready: Promise<void>;
  /** A new one for each membership: whoever leads waits for the lock of the last. */
  readonly #id: string;
  readonly #surroundings: Surroundings;
  readonly #events: GroupEvents;
  readonly #common: Channel;
  readonly #own: Channel;
  /** To the other tabs, while this one leads. */
  readonly #others = new Map<string, Channel>();
  #switchboard: Switchboard | undefined;
  #leave!: () => void;
  #hasLeft = false;

  constructor(
    surroundings: Surroundings,
    name: string,
    line: { readonly url: string; readonly protocol: string },
    events: GroupEvents,
  ) {
    this.name = name;
    this.#surroundings = surroundings;
    this.#events = events;
    this.#id = surroundings.environment.newId();
    this.#common = surroundings.channel(name, (message) => {
      this.#heard(message as ToLeader | Announcement);
    });
    this.#own = surroundings.channel(`${name}.${this.#id}`, (message) => {
      events.heard(message as ToTab);
    });
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      const alive = surroundings.lock(lifeOf(this.#id), () => {
        resolve();
        return left;
      });
      alive.catch(reject);
    });
    void this.#hold(name, async () => {
      this.#lead(line);
      await left;
    });
  }

  /** Say something to the leading tab. */
  say(message: Omit<ToLeader, "from">): void {
    const told = { ...message, from: this.#id };
    if (this.#switchboard === undefined) this.#common.post(told);
    else {
      this.#switchboard.hear(told, (answer) => {
        queueMicrotask(() => {
          if (!this.#hasLeft) this.#events.heard(answer);
        });
      });
    }
  }

  /** Take part no more; if this tab leads, the next in line takes over. */
  leave(): void {
    this.#hasLeft = true;
    this.#switchboard?.stop();
    for (const channel of [this.#common, this.#own, ...this.#others.values()]) channel.close();
    this.#leave();
  }

  /** Hold a lock, if it is granted while this tab takes part. */
  async #hold(name: string, granted: () => Promise<void>): Promise<void> {
    const { lock } = this.#surroundings;
    const held = lock(name, async () => {
      if (!this.#hasLeft) await granted();
    });
    await held.catch(() => undefined); // `ready` tells of it
  }

  #lead({ url, protocol }: { readonly url: string; readonly protocol: string }): void {
    const { environment, local } = this.#surroundings;
    const clientId = local.get(this.name) ?? environment.newId();
    local.set(this.name, clientId);
    this.#switchboard = new Switchboard(environment, { url, protocol, clientId });
    this.#common.post({ leader: this.#id } satisfies Announcement);
    this.#events.led();
  }

  #heard(message: ToLeader | Announcement): void {
    if ("leader" in message) this.#events.led();
    else {
      this.#switchboard?.hear(message, (answer) => {
        this.#channelTo(message.from).post(answer);
      });
    }
  }

  #channelTo(tab: string): Channel {
    const known = this.#others.get(tab);
    if (known !== undefined) return known;
    const channel = this.#surroundings.channel(`${this.name}.${tab}`, () => undefined);
    this.#others.set(tab, channel);
    // We get its lock when it closes, crashes, or leaves.
    void this.#hold(lifeOf(tab), async () => {
      this.#others.delete(tab);
      channel.close();
      this.#switchboard?.gone(tab);
    });
    return channel;
  }
}

function lifeOf(tab: string): string {
  return `bellwether.tab.${tab}`;
}
