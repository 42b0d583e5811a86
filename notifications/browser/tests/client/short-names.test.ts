import { readFileSync, readdirSync } from "node:fs";
import { Window } from "happy-dom";
import { expect, it } from "vitest";

const CLIENT = "../../src/client/";
const DASHBOARD = "../../src/dashboard/";
const FRAMES = "../../../../tests/vectors/frames.json";
/**
 * Where everything stands that applications, the server, the storage and other tabs get to see, and
 * keys that are texts elsewhere.
 */
const SEEN = ["types", "config", "errors", "storage", "frames", "sharing/wire", "state"];

function url(path: string): URL {
  return new URL(path, import.meta.url);
}

function filesIn(folder: string, ending: string): string[] {
  return readdirSync(url(folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => folder + name);
}

function json(path: string): unknown {
  return JSON.parse(readFileSync(url(path), "utf8"));
}

function words(path: string): string[] {
  const text = readFileSync(url(path), "utf8");
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|^import[\s\S]*?;$/gm, "");
  return code.match(/[A-Za-z_]\w*/g) ?? [];
}

function keysOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  const own = Array.isArray(value) ? [] : Object.keys(value);
  return [...own, ...Object.values(value).flatMap(keysOf)];
}

/** The names that objects of the platform have. */
function platformNames(): string[] {
  const names: string[] = [];
  for (const world of [globalThis, new Window()] as unknown as Record<string, unknown>[]) {
    for (const name of Object.getOwnPropertyNames(world)) {
      if (name.startsWith("__")) continue; // the test runner's
      names.push(name);
      const value = world[name] as { prototype?: object } | null | undefined;
      if (typeof value !== "function" && typeof value !== "object") continue;
      for (let at: object | null | undefined = value?.prototype ?? value; at; ) {
        names.push(...Object.getOwnPropertyNames(at));
        at = Object.getPrototypeOf(at) as object | null;
      }
    }
  }
  return names;
}

const SHORT = json("../../short-names.json") as string[];

it("shortens no name that somebody else says", () => {
  const seen = SEEN.map((name) => `${CLIENT}${name}.ts`);
  const taken = new Set([
    ...[...seen, ...filesIn(DASHBOARD, ".ts")].flatMap(words),
    ...keysOf(json(FRAMES)),
    ...platformNames(),
  ]);
  expect(taken).toContain("subscriptionId"); // it looks where it should
  expect(taken).toContain("addEventListener");
  expect(SHORT.filter((name) => taken.has(name))).toEqual([]);
});

it("shortens what the client has", () => {
  const used = new Set(
    [...filesIn(CLIENT, ".ts"), ...filesIn(`${CLIENT}sharing/`, ".ts")].flatMap(words),
  );
  expect(SHORT.filter((name) => !used.has(name))).toEqual([]);
});

it("gives no name that a property has", () => {
  const text = [...filesIn(CLIENT, ".ts"), ...filesIn(`${CLIENT}sharing/`, ".ts")]
    .map((path) => readFileSync(url(path), "utf8"))
    .join();
  const letters = new Set([...text.matchAll(/[\w)\]]\??\.([a-zA-Z])\b/g)].map(([, name]) => name));
  expect([...letters]).toEqual(["t"]);
});
