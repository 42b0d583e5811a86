import { describe, expect, it } from "vitest";
import { encode } from "../../src/client/encode.ts";

/** 16 levels are allowed, and the frame is the first. */
function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

function wide(keys: number): object {
  return Object.fromEntries(Array.from({ length: keys }, (_, key) => [key, key]));
}

const circle: unknown[] = [];
circle.push(circle);
const failing = {
  toJSON() {
    throw new Error("no");
  },
};

describe("encode", () => {
  it.each([
    ["half of an emoji", "a\ud83d"],
    ["the other half", "\ude00"],
    ["half of an emoji as a key", { "\ud83d": 1 }],
    ["half of an emoji after a backslash", "\\\ud83d"],
    ["too many levels", nested(16)],
    ["far too many levels", nested(100_000)],
    ["too many keys", wide(257)],
    ["a BigInt", 1n],
    ["a circle", circle],
    ["what fails by itself", failing],
  ])("refuses %s", (_, payload) => {
    expect(() => encode({ payload })).toThrow(expect.objectContaining({ code: "BAD_FRAME" }));
  });

  it.each([
    ["a whole emoji", "a😀"],
    ["the text of an escape", "\\ud83d"],
    ["two backslashes before it", "\\\\ud83d"],
    ["15 levels", nested(15)],
    ["256 keys", wide(256)],
    ["a long list", Array.from({ length: 300 }, () => 0)],
  ])("takes %s", (_, payload) => {
    expect(JSON.parse(encode({ payload }))).toEqual({ payload });
  });
});
