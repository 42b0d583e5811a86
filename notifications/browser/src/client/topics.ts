/** Grammar and matching of topics and patterns, section 1 of docs/protocol.md. Pure. */

const SYSTEM = "$sys";
const MAX_SEGMENTS = 8;
const MAX_SEGMENT = 64;
const MAX_BYTES = 255;
const ALPHABET = /^[\w.$*-]*$/; // with what a mistake may be made of; \w is ASCII here

/** What is wrong with a text, for a person. An enum, because bundlers write its texts in place. */
export enum Mistake {
  NOT_A_STRING = "Write a topic, such as user.1.orders.",
  EMPTY = "Write a topic, such as user.1.orders.",
  TOO_LONG = "A topic has at most 255 characters.",
  TOO_MANY_SEGMENTS = "A topic has at most 8 segments.",
  BAD_CHARACTER = "Use letters, digits, _, - and dots.",
  EMPTY_SEGMENT = "Write something before and after each dot.",
  SEGMENT_TOO_LONG = "A segment has at most 64 characters.",
  WILDCARD_IN_TOPIC = "Wildcards are for subscriptions: name one topic.",
  WILDCARD_NOT_LAST = "** can only be the last segment.",
  PARTIAL_WILDCARD = "A wildcard stands for a whole segment, as in user.*.orders.",
  DOLLAR = "Only $sys, as the first segment, may have a $.",
}

/** A pattern or topic cut at its dots. */
export type Segments = readonly string[];

/** Say what is wrong with a topic; undefined when nothing is. */
export function topicProblem(topic: string): string | undefined {
  return mistakeIn(topic, false);
}

/** Say what is wrong with a topic or pattern; undefined when nothing is. */
export function patternProblem(pattern: string): string | undefined {
  return mistakeIn(pattern, true);
}

export function split(topic: string): Segments {
  return topic.split(".");
}

/** Whether a (valid) topic or pattern has a wildcard. */
export function isPattern(topic: string): boolean {
  return topic.includes("*");
}

/** Whether a pattern matches a topic. Both are valid and already split. */
export function matches(pattern: Segments, topic: Segments): boolean {
  const last = pattern.length - 1;
  const deep = pattern[last] === "**";
  if (deep ? topic.length <= last : topic.length !== pattern.length) return false;
  if (topic[0] === SYSTEM && pattern[0] !== SYSTEM) return false;
  for (let index = deep ? last - 1 : last; index >= 0; index -= 1) {
    const segment = pattern[index];
    if (segment !== "*" && segment !== topic[index]) return false;
  }
  return true;
}

/** The first mistake that applies. */
function mistakeIn(text: unknown, wildcards: boolean): Mistake | undefined {
  if (typeof text !== "string") return Mistake.NOT_A_STRING;
  if (text === "") return Mistake.EMPTY;
  if (new TextEncoder().encode(text).length > MAX_BYTES) return Mistake.TOO_LONG;
  const segments = split(text);
  if (segments.length > MAX_SEGMENTS) return Mistake.TOO_MANY_SEGMENTS;
  if (!ALPHABET.test(text)) return Mistake.BAD_CHARACTER;
  for (const [index, segment] of segments.entries()) {
    if (segment === "") return Mistake.EMPTY_SEGMENT;
    if (segment.length > MAX_SEGMENT) return Mistake.SEGMENT_TOO_LONG;
    if (segment.includes("*")) {
      if (!wildcards) return Mistake.WILDCARD_IN_TOPIC;
      if (!/^\*\*?$/.test(segment)) return Mistake.PARTIAL_WILDCARD;
      if (segment === "**" && index < segments.length - 1) return Mistake.WILDCARD_NOT_LAST;
    } else if (segment.includes("$") && (index > 0 || segment !== SYSTEM)) return Mistake.DOLLAR;
  }
  return undefined;
}
