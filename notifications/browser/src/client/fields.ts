/** Readers of one field of a frame. What is not as the protocol says throws Unreadable. */
import type { Cursor, Position } from "./cursor.ts";

export type Wire = Readonly<Record<string, unknown>>;

/** A frame that breaks the protocol. */
export class Unreadable extends Error {}

export function isWire(value: unknown): value is Wire {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function wrong(key: string, wanted: string): never {
  throw new Unreadable(`${key} is not ${wanted}`);
}

/** Reads a field, or throws. */
type Reader<T> = (wire: Wire, key: string) => T;

/** What readers make of an object: who may give undefined makes an optional field. */
type Shape<R extends Readonly<Record<string, Reader<unknown>>>> = {
  -readonly [K in keyof R as undefined extends ReturnType<R[K]> ? never : K]: ReturnType<R[K]>;
} & {
  -readonly [K in keyof R as undefined extends ReturnType<R[K]> ? K : never]?: Exclude<
    ReturnType<R[K]>,
    undefined
  >;
};

/** Make a reader of an object from those of its fields. */
export function shape<const R extends Readonly<Record<string, Reader<unknown>>>>(
  readers: R,
): (wire: Wire) => Shape<R> {
  const entries = Object.entries(readers);
  return (wire) => {
    const found: Record<string, unknown> = {};
    for (const [key, read] of entries) {
      const value = read(wire, key);
      if (value !== undefined) found[key] = value;
    }
    return found as Shape<R>;
  };
}

/** Make a reader of an optional field: null counts as absent. */
export function maybe<T>(read: Reader<T>): Reader<T | undefined> {
  return (wire, key) => ((wire[key] ?? undefined) === undefined ? undefined : read(wire, key));
}

/** Make a reader of an object in a field. */
export function nested<T>(read: (wire: Wire) => T): Reader<T> {
  return (wire, key) => read(object(wire, key));
}

/** Make a reader of a list of objects. */
export function listed<T>(read: (wire: Wire) => T): Reader<T[]> {
  const list = tested(
    (value): value is Wire[] => Array.isArray(value) && value.every(isWire),
    "a list",
  );
  return (wire, key) => list(wire, key).map(read);
}

/** Make a reader of a field from a test of its value, and what to say of one that fails it. */
function tested<T>(is: (value: unknown) => value is T, wanted: string): Reader<T> {
  return (wire, key) => {
    const value = wire[key];
    return is(value) ? value : wrong(key, wanted);
  };
}

export const text = tested((value) => typeof value === "string", "a string");

export const flag = tested((value) => typeof value === "boolean", "a boolean");

/** A duration or another number from 0. */
export const amount = tested(
  (value): value is number => Number.isFinite(value) && (value as number) >= 0,
  "a number from 0",
);

export const count = tested(isCount, "an integer from 0");

export const object = tested(isWire, "an object");

/** The id of a request. */
export function requestId(wire: Wire, key: string): number | string {
  return typeof wire[key] === "string" ? text(wire, key) : count(wire, key);
}

export function instant(wire: Wire, key: string): Date {
  const date = new Date(text(wire, key));
  return Number.isNaN(date.getTime()) ? wrong(key, "an instant") : date;
}

export const position = tested(
  (value): value is Position =>
    Array.isArray(value) && value.length === 2 && value.every(isCount),
  "a position",
);

const offsets = tested(
  (value): value is Cursor["offsets"] =>
    isWire(value) &&
    Object.entries(value).every(([key, offset]) => /^\d{1,15}$/.test(key) && isCount(offset)),
  "a cursor",
);

export const cursor = nested(shape({ epoch: text, offsets }));

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
