/** The live feed: a bounded list, newest on top. */
import type { NotificationMessage } from "../client/index.ts";
import { type FeedRow, markerRow, messageRow } from "./feed-row.ts";
import { figure } from "./format.ts";
import { need, setText } from "./page.ts";

/** Rows on the page, and rows that wait while paused. Policy: the oldest go. */
export const MAX_ROWS = 500;

type Entry =
  | { readonly kind: "message"; readonly message: NotificationMessage }
  | {
      readonly kind: "marker";
      readonly text: string;
      readonly at: Date;
      readonly tone: "info" | "warn";
    };

export class Feed {
  readonly #list: HTMLElement;
  readonly #none: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #pauseButton: HTMLButtonElement;
  readonly #expandButton: HTMLButtonElement;
  readonly #filter: HTMLInputElement;
  readonly #schedule: (run: () => void) => void;
  /** Newest first, as on the page. */
  #rows: FeedRow[] = [];
  /** Oldest first: what came since the last painting. */
  #waiting: Entry[] = [];
  #scheduled = false;
  #paused = false;
  #expanded = false;

  /** @param schedule runs a function once, before the next painting. */
  constructor(root: ParentNode, schedule: (run: () => void) => void) {
    this.#list = need(root, "#feed", HTMLElement);
    this.#none = need(root, "#feed-none", HTMLElement);
    this.#empty = need(root, "#feed-empty", HTMLElement);
    this.#pauseButton = need(root, "#feed-pause", HTMLButtonElement);
    this.#expandButton = need(root, "#feed-expand", HTMLButtonElement);
    this.#filter = need(root, "#feed-filter", HTMLInputElement);
    this.#schedule = schedule;
    this.#pauseButton.addEventListener("click", () => {
      this.#setPaused(!this.#paused);
    });
    this.#expandButton.addEventListener("click", () => {
      this.#setExpanded(!this.#expanded);
    });
    this.#filter.addEventListener("input", () => {
      for (const row of this.#rows) this.#applyFilter(row);
      this.#showState();
    });
    need(root, "#feed-clear", HTMLButtonElement).addEventListener("click", () => {
      this.#clear();
    });
  }

  /** Show a message. One that two subscriptions bring is shown once. */
  add(message: NotificationMessage): void {
    this.#push({ kind: "message", message });
  }

  /** Note between the messages what happened to the connection. */
  mark(text: string, at: Date, tone: "info" | "warn" = "info"): void {
    this.#push({ kind: "marker", text, at, tone });
  }

  #push(entry: Entry): void {
    this.#waiting.push(entry);
    if (this.#waiting.length > MAX_ROWS) this.#waiting.shift();
    if (this.#paused) {
      this.#showState();
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      this.#schedule(() => {
        this.#scheduled = false;
        if (!this.#paused) this.#paint();
      });
    }
  }

  /** Put what waits on the page in one go: a burst costs one layout, not one per message. */
  #paint(): void {
    const known = new Set(this.#rows.map((row) => row.id));
    const fresh: FeedRow[] = [];
    for (const entry of this.#waiting) {
      if (entry.kind === "marker") fresh.push(markerRow(entry.text, entry.at, entry.tone));
      else if (!known.has(entry.message.id)) {
        known.add(entry.message.id);
        fresh.push(messageRow(entry.message, this.#expanded));
      }
    }
    this.#waiting = [];
    fresh.reverse();
    for (const row of fresh) this.#applyFilter(row);
    this.#list.prepend(...fresh.map((row) => row.element));
    this.#rows = [...fresh, ...this.#rows];
    for (const row of this.#rows.splice(MAX_ROWS)) row.element.remove();
    this.#showState();
  }

  #setPaused(paused: boolean): void {
    this.#paused = paused;
    this.#pauseButton.setAttribute("aria-pressed", String(paused));
    if (paused) this.#showState();
    else this.#paint();
  }

  #setExpanded(expanded: boolean): void {
    this.#expanded = expanded;
    this.#expandButton.setAttribute("aria-pressed", String(expanded));
    for (const row of this.#rows) {
      const details = row.element.querySelector("details");
      if (details !== null) details.open = expanded;
    }
  }

  #clear(): void {
    for (const row of this.#rows) row.element.remove();
    this.#rows = [];
    this.#waiting = [];
    this.#showState();
  }

  #applyFilter(row: FeedRow): void {
    row.element.hidden = !row.haystack.includes(this.#filter.value.trim().toLowerCase());
  }

  #showState(): void {
    const messages = this.#rows.some((row) => row.id !== undefined);
    this.#empty.hidden = messages;
    this.#none.hidden = !messages || this.#rows.some((row) => !row.element.hidden);
    const waiting = this.#paused ? this.#waiting.length : 0;
    const more = waiting === 0 ? "" : ` (${figure(waiting)})`;
    setText(this.#pauseButton, this.#paused ? `Resume${more}` : "Pause");
  }
}
