/** The entries of a client, by topic, and who of them gets a message. */
import type { Entry } from "./entry.ts";
import { isPattern, matches, split } from "./topics.ts";

export class Entries {
  readonly #byTopic = new Map<string, Entry>();
  #patterns: readonly Entry[] = [];

  get(topic: string): Entry | undefined {
    return this.#byTopic.get(topic);
  }

  /** What there is now: later changes do not show. */
  all(): Entry[] {
    return [...this.#byTopic.values()];
  }

  add(entry: Entry): void {
    this.#byTopic.set(entry.topic, entry);
    this.#listPatterns();
  }

  delete(entry: Entry): void {
    this.#byTopic.delete(entry.topic);
    this.#listPatterns();
  }

  /** What has been confirmed, to be asked for again after a reload. */
  confirmed(): Entry[] {
    return this.all().filter(({ confirmed }) => confirmed);
  }

  /** The server's ids of all that it holds. */
  heldIds(): string[] {
    return this.all().flatMap(({ heldId }) => heldId ?? []);
  }

  /** How many messages wait for a handler to come, or for a replay. */
  waiting(): number {
    return this.all().reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** List who gets a message. */
  matching(topic: string): Entry[] {
    const exact = this.#byTopic.get(topic);
    const found = exact === undefined ? [] : [exact];
    const segments = split(topic);
    for (const entry of this.#patterns) if (matches(entry.segments, segments)) found.push(entry);
    return found;
  }

  #listPatterns(): void {
    this.#patterns = this.all().filter(({ topic }) => isPattern(topic));
  }
}
