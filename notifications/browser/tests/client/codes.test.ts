/** Runs over the vectors that the Python side runs over too. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CloseCode, closeMeaning, closeReason, reconnects } from "../../src/client/codes.ts";
import { closed } from "../../src/client/down.ts";

interface Vectors {
  closes: { code: number; name: string; reconnect: boolean; clientReason?: string }[];
  unnamed: { code: number; reconnect: boolean }[];
}

const path = new URL("../../../../tests/vectors/codes.json", import.meta.url);
const { closes, unnamed } = JSON.parse(readFileSync(path, "utf8")) as Vectors;

describe("close codes", () => {
  it("are those of the protocol, by the same names", () => {
    const named = Object.fromEntries(closes.map(({ name, code }) => [name, code]));
    expect(CloseCode).toMatchObject(named);
    expect(Object.keys(CloseCode)).toHaveLength(2 * closes.length); // both ways
  });

  it.each([...closes, ...unnamed])("$code: reconnect $reconnect", ({ code, reconnect }) => {
    expect(reconnects(code)).toBe(reconnect);
  });

  it.each(closes.filter(({ clientReason }) => clientReason !== undefined))(
    "$code is $clientReason",
    ({ code, clientReason }) => {
      expect(closeReason(code)).toBe(clientReason);
    },
  );

  it("have a meaning, known or not", () => {
    expect(closeMeaning(CloseCode.ABNORMAL)).toContain("lost");
    expect(closeMeaning(4321)).toContain("4321");
  });

  it("without a code count as a lost line", () => {
    expect(closed(1005, undefined, undefined)).toMatchObject({
      retry: true,
      error: { reason: "network_error" },
    });
  });
});
