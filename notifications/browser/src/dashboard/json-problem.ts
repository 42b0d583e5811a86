/** Says where a text stops being JSON, as browsers' own messages do not all do. Pure. */

export interface JsonProblem {
  /** Where, in UTF-16 units from 0. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** For a person, without a full stop. */
  readonly message: string;
}

const MAX_DEPTH = 100;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
/** The part of a string that needs no further look. */
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** Find the first problem; undefined when JSON.parse takes the text. */
export function jsonProblem(text: string): JsonProblem | undefined {
  const scanner = new Scanner(text);
  try {
    scanner.document();
    return undefined;
  } catch (found) {
    if (!(found instanceof Stop)) throw found;
    const before = text.slice(0, found.offset).split("\n");
    const column = (before.at(-1) ?? "").length + 1;
    return { offset: found.offset, line: before.length, column, message: found.message };
  }
}

class Stop extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value(0);
    if (this.#at < this.#text.length) this.#stop("nothing more can follow here");
  }

  #value(depth: number): void {
    if (depth > MAX_DEPTH) this.#stop("this is nested too deep");
    this.#take(SPACE);
    const next = this.#text[this.#at];
    if (next === "{") this.#items("}", depth, true);
    else if (next === "[") this.#items("]", depth, false);
    else if (next === '"') this.#string();
    else if (!this.#take(WORD) && !this.#take(NUMBER)) {
      this.#stop(next === "'" ? 'strings take double quotes (")' : "a value is missing");
    }
    this.#take(SPACE);
  }

  #items(close: "}" | "]", depth: number, keyed: boolean): void {
    this.#at += 1;
    this.#take(SPACE);
    if (this.#skip(close)) return;
    do {
      if (keyed) this.#key();
      this.#value(depth + 1);
    } while (this.#skip(","));
    if (!this.#skip(close)) this.#stop(`a comma or ${close} is missing`);
  }

  #key(): void {
    this.#take(SPACE);
    if (this.#text[this.#at] !== '"') this.#stop('a key in double quotes (") is missing');
    this.#string();
    this.#take(SPACE);
    if (!this.#skip(":")) this.#stop("a colon is missing after the key");
  }

  #string(): void {
    this.#at += 1;
    for (;;) {
      this.#take(PLAIN);
      if (this.#skip('"')) return;
      if (this.#at >= this.#text.length) this.#stop('the closing quote (") is missing');
      if (this.#text[this.#at] !== "\\") this.#stop("write a line break or tab as \\n or \\t");
      if (!this.#take(ESCAPE)) this.#stop("this is no escape that JSON knows");
    }
  }

  #skip(wanted: string): boolean {
    if (this.#text[this.#at] !== wanted) return false;
    this.#at += 1;
    return true;
  }

  /** Move past what the pattern finds here; false when that is nothing. */
  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    const length = pattern.exec(this.#text)?.[0].length ?? 0;
    this.#at += length;
    return length > 0;
  }

  #stop(message: string): never {
    throw new Stop(this.#at, message);
  }
}
