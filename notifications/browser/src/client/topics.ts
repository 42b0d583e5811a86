/** Grammar and matching of topics and patterns, section 1 of docs/protocol.md. Pure. */

const SYSTEM = "$sys";
const MAX_SEGMENTS = 8;
const MAX_SEGMENT = 64;
const MAX_BYTES = 255;
const ALPHABET = /^[\w.$*-]*$/; // with what a mistake may be made of; \w is ASCII here

/** What is wrong with a text, and how to say it. The first that applies is told. */
const MISTAKES = {
  "not-a-string": "Write a topic, such as user.1.orders.",
  empty: "Write a topic, such as user.1.orders.",
  "too-long": `A topic has at most ${MAX_BYTES} characters.`,
  "too-many-segments": `A topic has at most ${MAX_SEGMENTS} segments.`,
  "bad-character": "Use letters, digits, _, - and dots.",
  "empty-segment": "A segment is empty: write something before and after each dot.",
  "segment-too-long": `A segment has at most ${MAX_SEGMENT} characters.`,
  "wildcard-in-topic": "Wildcards are for subscriptions: name one topic.",
  "wildcard-not-last": "** can only be the last segment.",
  "partial-wildcard": "A wildcard stands for a whole segment, as in user.*.orders.",
  dollar: "Only $sys, as the first segment, may have a $.",
} as const;

export type Mistake = keyof typeof MISTAKES;

/** A pattern or topic cut at its dots. */
export type Segments = readonly string[];

/** Say what is wrong with a topic, for a person; undefined when nothing is. */
export function topicProblem(topic: string): string | undefined {
  const mistake = topicMistake(topic);
  return mistake && MISTAKES[mistake];
}

/** Say what is wrong with a topic or pattern, for a person; undefined when nothing is. */
export function patternProblem(pattern: string): string | undefined {
  const mistake = patternMistake(pattern);
  return mistake && MISTAKES[mistake];
}

export function topicMistake(topic: unknown): Mistake | undefined {
  return mistakeIn(topic, false);
}

export function patternMistake(pattern: unknown): Mistake | undefined {
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

function mistakeIn(text: unknown, wildcards: boolean): Mistake | undefined {
  if (typeof text !== "string") return "not-a-string";
  if (text === "") return "empty";
  if (new TextEncoder().encode(text).length > MAX_BYTES) return "too-long";
  const segments = split(text);
  if (segments.length > MAX_SEGMENTS) return "too-many-segments";
  if (!ALPHABET.test(text)) return "bad-character";
  for (const [index, segment] of segments.entries()) {
    if (segment === "") return "empty-segment";
    if (segment.length > MAX_SEGMENT) return "segment-too-long";
    if (segment.includes("*")) {
      if (!wildcards) return "wildcard-in-topic";
      if (!/^\*\*?$/.test(segment)) return "partial-wildcard";
      if (segment === "**" && index < segments.length - 1) return "wildcard-not-last";
    } else if (segment.includes("$") && (index > 0 || segment !== SYSTEM)) return "dollar";
  }
  return undefined;
}
