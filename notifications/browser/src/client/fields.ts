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
  return (wire, key) => {
    const value = wire[key];
    return value === undefined || value === null ? undefined : read(wire, key);
  };
}

/** Make a reader of an object in a field. */
export function nested<T>(read: (wire: Wire) => T): Reader<T> {
  return (wire, key) => read(object(wire, key));
}

/** Make a reader of a list of objects. */
export function listed<T>(read: (wire: Wire) => T): Reader<T[]> {
  return (wire, key) => {
    const value = wire[key];
    return Array.isArray(value) && value.every(isWire)
      ? value.map(read)
      : wrong(key, "a list of objects");
  };
}

export function text(wire: Wire, key: string): string {
  const value = wire[key];
  return typeof value === "string" ? value : wrong(key, "a string");
}

export function flag(wire: Wire, key: string): boolean {
  const value = wire[key];
  return typeof value === "boolean" ? value : wrong(key, "a boolean");
}

/** A duration or another number from 0. */
export function amount(wire: Wire, key: string): number {
  const value = wire[key];
  return typeof value === "number" && value >= 0 && Number.isFinite(value)
    ? value
    : wrong(key, "a number from 0");
}

export function count(wire: Wire, key: string): number {
  const value = wire[key];
  return isCount(value) ? value : wrong(key, "an integer from 0");
}

/** The id of a request. */
export function requestId(wire: Wire, key: string): number | string {
  return typeof wire[key] === "string" ? text(wire, key) : count(wire, key);
}

export function object(wire: Wire, key: string): Wire {
  const value = wire[key];
  return isWire(value) ? value : wrong(key, "an object");
}

export function instant(wire: Wire, key: string): Date {
  const value = wire[key];
  const date = typeof value === "string" ? new Date(value) : undefined;
  return date !== undefined && !Number.isNaN(date.getTime()) ? date : wrong(key, "an instant");
}

export function position(wire: Wire, key: string): Position {
  const value = wire[key];
  if (Array.isArray(value) && value.length === 2) {
    const [partition, offset]: readonly unknown[] = value;
    if (isCount(partition) && isCount(offset)) return [partition, offset];
  }
  return wrong(key, "a position");
}

export function cursor(wire: Wire, key: string): Cursor {
  const value = object(wire, key);
  const offsets: Record<string, number> = {};
  for (const [partition, offset] of Object.entries(object(value, "offsets"))) {
    if (!/^\d{1,15}$/.test(partition) || !isCount(offset)) return wrong(key, "a cursor");
    offsets[partition] = offset;
  }
  return { epoch: text(value, "epoch"), offsets };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
