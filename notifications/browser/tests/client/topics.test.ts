/** Runs over the vectors that the Python side runs over too. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  Mistake,
  isPattern,
  matches,
  patternProblem,
  split,
  topicProblem,
} from "../../src/client/topics.ts";

interface Grammar {
  valid: { text: string }[];
  invalid: { text: unknown; mistake: string }[];
}
interface Vectors {
  topics: Grammar;
  patterns: Grammar;
  matches: { pattern: string; topic: string; matches: boolean }[];
}

const path = new URL("../../../../tests/vectors/topics.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;

describe.each([
  ["topicProblem", topicProblem, vectors.topics],
  ["patternProblem", patternProblem, vectors.patterns],
] as const)("%s", (_name, problem, { valid, invalid }) => {
  it.each(valid)("accepts $text", ({ text }) => {
    expect(problem(text)).toBeUndefined();
  });

  it.each(invalid)("refuses $text as $mistake", (row) => {
    const name = row.mistake.toUpperCase().replaceAll("-", "_") as keyof typeof Mistake;
    expect(Mistake).toHaveProperty(name);
    expect(problem(row.text as string)).toBe(Mistake[name]);
  });
});

describe("problems", () => {
  it("says what to do, and nothing about what is fine", () => {
    expect(topicProblem("user.*")).toBe("Wildcards are for subscriptions: name one topic.");
    expect(patternProblem("user.**.a")).toBe("** can only be the last segment.");
    expect(topicProblem("user.1")).toBeUndefined();
    expect(patternProblem("user.**")).toBeUndefined();
  });
});

describe("matches", () => {
  it.each(vectors.matches)("$pattern and $topic: $matches", (row) => {
    expect(matches(split(row.pattern), split(row.topic))).toBe(row.matches);
  });
});

describe("isPattern", () => {
  it("is true of wildcards alone", () => {
    expect(["user.1", "user.*", "user.**"].map(isPattern)).toEqual([false, true, true]);
  });
});
