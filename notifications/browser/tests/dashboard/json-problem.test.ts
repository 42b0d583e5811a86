import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonProblem } from "../../src/dashboard/json-problem.ts";

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON with a character taken out, put in or doubled. */
const almostJson = fc
  .tuple(
    fc.json({ maxDepth: 4 }),
    fc.nat(),
    fc.constantFrom("", ",", "}", "]", '"', "\\", "\n", "0", "-", "e"),
  )
  .map(([text, where, what]) => {
    const at = where % (text.length + 1);
    return text.slice(0, at) + what + text.slice(what === "" ? at + 1 : at);
  });

describe("jsonProblem", () => {
  it.each([
    ["", 1, 1, "a value is missing"],
    ['{"a": }', 1, 7, "a value is missing"],
    ['{"a": 1,\n  b: 2}', 2, 3, 'a key in double quotes (") is missing'],
    ['{"a" 1}', 1, 6, "a colon is missing after the key"],
    ['{"a": 1 "b": 2}', 1, 9, "a comma or } is missing"],
    ["[1, 2", 1, 6, "a comma or ] is missing"],
    ["[1, 2,]", 1, 7, "a value is missing"],
    ["{'a': 1}", 1, 2, 'a key in double quotes (") is missing'],
    ["['a']", 1, 2, 'strings take double quotes (")'],
    ['"abc', 1, 5, 'the closing quote (") is missing'],
    ['"a\nb"', 1, 3, "write a line break or tab as \\n or \\t"],
    ['"\\x"', 1, 2, "this is no escape that JSON knows"],
    ["1 2", 1, 3, "nothing more can follow here"],
    ["[".repeat(200), 1, 102, "this is nested too deep"],
  ])("of %j is at line %d, column %d", (text, line, column, message) => {
    expect(jsonProblem(text)).toMatchObject({ line, column, message });
  });

  it("is none in all that JSON.parse takes, and only there", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), almostJson, fc.string()), (text) => {
        expect(jsonProblem(text) === undefined).toBe(parses(text));
      }),
      { numRuns: 2_000 },
    );
  });
});
