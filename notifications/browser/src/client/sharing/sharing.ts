/** Opens sockets that are shared with the other tabs of this browser. */
import { CloseCode } from "../codes.ts";
import type { Cancel, Environment, Socket, SocketEvents } from "../environment.ts";
import { Group, type GroupEvents } from "./group.ts";
import { type Surroundings, browserSurroundings } from "./surroundings.ts";
import { FAREWELL, type Kept, type ToLeader, type ToTab, parse } from "./wire.ts";

/** A leading tab that failed so often in a row hangs: do without it until another leads. */
const MAX_FAILURES = 2;
/** Frames after which the leading tab hears how many have been read. */
const READ_EVERY = 1_000;

const KEPT = "bellwether.shared.";

/** A socket as the client sees it; the leading tab speaks as the server does. */
interface Line extends Socket {
  /** A new one each time that it is introduced: answers of a leading tab before do not count. */
  number: number;
  readonly url: string;
  readonly protocol: string;
  readonly events: SocketEvents;
  /** What has been said first, to be said again to whoever leads next. */
  first?: Pick<ToLeader, "hello" | "kept">;
  isAnswered: boolean;
  read: number;
}

/** Make what opens the sockets of one client. */
export function openerFor(environment: Environment): Sharing {
  return new Sharing(browserSurroundings(environment));
}

/** One for each client. */
export class Sharing implements GroupEvents {
  readonly #surroundings: Surroundings;
  #group: Group | undefined;
  #line: Line | undefined;
  #lines = 0;
  #failures = 0;
  /** Whether the next socket is one of our own. */
  #isAlone = false;
  /** Whether the page is put aside, and may come back. */
  #isAway = false;
  #kept: Kept | undefined;
  #clientId = "";
  #unlisten: Cancel | undefined;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  readonly open: Environment["open"] = (url, protocol, events) => {
    if (this.#isAlone) return this.#surroundings.environment.open(url, protocol, events);
    const line: Line = {
      number: 0,
      url,
      protocol,
      events,
      isAnswered: false,
      read: 0,
      send: (text) => {
        this.#send(line, text);
      },
      close: (code) => {
        this.#close(line, code);
      },
    };
    this.#line = line;
    queueMicrotask(() => {
      if (this.#line === line) events.opened();
    });
    return line;
  };

  #send(line: Line, text: string): void {
    if (line !== this.#line) return;
    if (line.isAnswered) this.#group?.say({ line: line.number, text });
    else this.#attempt(line, this.#introduce(line, text));
  }

  /** What the browser forbids can not be shared: then alone. */
  #attempt(line: Line, attempt: Promise<void>): void {
    attempt.catch(() => {
      if (line !== this.#line) return;
      this.#isAlone = true;
      this.#drop(line);
    });
  }

  async #introduce(line: Line, hello: string): Promise<void> {
    const [auth] = parse(hello);
    const name = await this.#surroundings.name(line.url, String(auth?.["token"]));
    if (line !== this.#line || this.#isAway) return;
    if (this.#group?.name !== name) {
      this.leave();
      this.#join(name, line);
    }
    this.#clientId = String(auth?.["clientId"]);
    line.first = { hello, kept: this.#kept ?? this.#read() };
    await this.#call(line);
  }

  #join(name: string, line: Line): void {
    this.#group = new Group(this.#surroundings, name, line, this);
    this.#unlisten = this.#surroundings.onPage(
      () => {
        this.#isAway = true;
        this.#group?.leave();
        this.#group = undefined;
      },
      () => {
        this.#isAway = false;
        if (this.#line !== undefined) this.#drop(this.#line);
      },
    );
  }

  async #call(line: Line): Promise<void> {
    const group = this.#group;
    await group?.ready;
    if (line !== this.#line || group !== this.#group) return;
    this.#lines += 1;
    line.number = this.#lines;
    group?.say({ line: line.number, ...line.first });
  }

  led(): void {
    const line = this.#line;
    this.#isAlone = false;
    this.#failures = 0;
    if (line?.isAnswered === true) this.#drop(line);
    else if (line?.first !== undefined) this.#attempt(line, this.#call(line));
  }

  heard({ line: number, text, closed, kept, alone }: ToTab): void {
    const line = this.#line;
    if (line?.number !== number) return;
    if (kept !== undefined) {
      line.isAnswered = true;
      this.#failures = 0;
      this.#kept = kept;
      this.#surroundings.session.set(KEPT + this.#clientId, JSON.stringify(kept));
    } else if (text !== undefined) {
      line.read += 1;
      if (line.read % READ_EVERY === 0) this.#group?.say({ line: number, read: READ_EVERY });
      line.events.received(text);
    } else if (alone) {
      this.#isAlone = true;
      this.#drop(line);
    } else if (closed !== undefined) this.#end(line, closed);
  }

  /** Have the client connect anew, at once. */
  #drop(line: Line): void {
    line.events.received(JSON.stringify(FAREWELL));
    this.#end(line, CloseCode.SERVICE_RESTART);
  }

  #end(line: Line, code: number): void {
    if (line !== this.#line) return;
    this.#line = undefined;
    line.events.closed(code);
  }

  #close(line: Line, code: number | undefined): void {
    if (line !== this.#line) return;
    this.#line = undefined;
    this.#group?.say({ line: line.number, closed: true });
    if (code !== CloseCode.NORMAL) {
      this.#failures += 1;
      this.#isAlone = this.#failures >= MAX_FAILURES;
    }
    queueMicrotask(() => {
      line.events.closed(code ?? CloseCode.ABNORMAL);
    });
  }

  /** Take part no more, until the next socket is opened. */
  leave(): void {
    this.#unlisten?.();
    this.#group?.leave();
    this.#group = this.#unlisten = undefined;
  }

  #read(): Kept | undefined {
    const text = this.#surroundings.session.get(KEPT + this.#clientId);
    return text === undefined ? undefined : (JSON.parse(text) as Kept);
  }
}
