/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Breaker, worse } from "../../src/client/breaker.ts";
import type { Circuit } from "../../src/client/types.ts";

interface Vectors {
  breaker: {
    name: string;
    failureThreshold: number;
    resetTimeout: number;
    steps: {
      at: number;
      do: "pass" | "success" | "failure" | "look";
      circuit: Circuit;
      wait: number;
    }[];
  }[];
  worse: [Circuit, Circuit, Circuit][];
}

const path = new URL("../../../../tests/vectors/states.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;

describe("Breaker", () => {
  it.each(vectors.breaker)("$name", ({ steps, ...config }) => {
    const breaker = new Breaker(config);
    for (const { at, do: what, circuit, wait } of steps) {
      if (what !== "look") breaker[what](at);
      expect([breaker.state, breaker.wait(at)]).toEqual([circuit, wait]);
    }
  });

  it.each(vectors.worse)("of %s and %s, %s is the worse", (one, other, expected) => {
    expect(worse(one, other)).toBe(expected);
  });
});
