/** Runs over the vectors that the Python side runs over too: what the server writes, we read. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decode } from "../../src/client/decode.ts";
import type { ServerFrame } from "../../src/client/frames.ts";
import type { Frame } from "./fake-server.ts";

interface Row {
  name: string;
  direction: string;
  json: string;
  frame: Frame & { type: string };
}

const path = new URL("../../../../tests/vectors/frames.json", import.meta.url);
const { rows } = JSON.parse(readFileSync(path, "utf8")) as { rows: Row[] };
const served = rows.filter(({ direction }) => direction === "server");

/** Types that this client does not use yet. */
const UNUSED = new Set(["presence", "presence_diff"]);
/** Decoded under another name, or only in part. */
const SPECIAL = new Set(["limits", "subscriptions"]);

/** The frame as it was on the wire: what decoding kept of it. */
function flat(frame: ServerFrame): Frame {
  const { type } = frame;
  if (type === "message") return plain({ type, ...frame.message });
  if (type === "error") {
    const { code, message, temporary, retryAfter, data } = frame.error;
    return plain({ type, id: frame.id, code, message, temporary, retryAfter, data });
  }
  return plain(frame);
}

function plain(value: object): Frame {
  return JSON.parse(JSON.stringify(value)) as Frame;
}

describe("what a server writes", () => {
  it.each(served.filter(({ frame }) => !UNUSED.has(frame.type)))("$name", ({ json, frame }) => {
    const frames: ServerFrame[] = [];
    const wrong: string[] = [];
    decode(json, {
      frame: (decoded) => frames.push(decoded),
      unknown: (type) => wrong.push(type),
      unreadable: (detail) => wrong.push(detail),
    });
    expect(wrong).toEqual([]);
    const [first] = frames;
    if (first === undefined) throw new Error("nothing was read");
    const decoded = flat(first);
    expect(decoded["type"]).toBe(frame.type);
    for (const [key, value] of Object.entries(decoded)) {
      if (key in frame && !SPECIAL.has(key)) expect([key, value]).toEqual([key, frame[key]]);
    }
    for (const required of [
      "id",
      "payload",
      "metadata",
      "position",
      "retryAfter",
      "data",
      "reason",
    ]) {
      const kept = frame.type === "auth_success" || !(required in frame) || required in decoded;
      expect(kept, required).toBe(true);
    }
  });

  it.each(served.filter(({ frame }) => UNUSED.has(frame.type)))("$name is ignored", ({ json }) => {
    const unknown: string[] = [];
    const fail = (): never => {
      throw new Error("not ignored");
    };
    decode(json, { frame: fail, unreadable: fail, unknown: (type) => unknown.push(type) });
    expect(unknown).toHaveLength(1);
  });
});
