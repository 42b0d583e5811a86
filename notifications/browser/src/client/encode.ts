/** What goes out as JSON, once it is sure that the server can read it. */
import { NotificationError } from "./errors.ts";

/** Levels of objects and arrays in a frame, the frame being the first. */
const MAX_LEVELS = 16;
const MAX_KEYS = 256;
/** Half of a character, which UTF-16 writes as two: JSON.stringify escapes nothing else so. */
const LONE_SURROGATE = /[^\\](\\\\)*\\ud/;

/**
 * Write a frame, or a part that stands where it will in a frame.
 *
 * @throws {NotificationError} `BAD_FRAME`, where the server would refuse it without saying which
 * request it means, and end the connection after ten of them.
 */
export function encode(frame: object): string {
  let text = "";
  try {
    text = JSON.stringify(frame);
  } catch {
    // A BigInt, a circle, or a toJSON that throws.
  }
  if (text === "" || LONE_SURROGATE.test(text) || !isSound(JSON.parse(text), MAX_LEVELS)) {
    const message = "This is more than JSON holds, or than the server reads.";
    throw new NotificationError("BAD_FRAME", message);
  }
  return text;
}

function isSound(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  const inside: unknown[] = Object.values(value);
  if (levels === 0 || (inside.length > MAX_KEYS && !Array.isArray(value))) return false;
  return inside.every((one) => isSound(one, levels - 1));
}
