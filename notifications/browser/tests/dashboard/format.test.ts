import { describe, expect, it } from "vitest";
import { duration, exactTime, figure, roundTrip, wallTime } from "../../src/dashboard/format.ts";

describe("format", () => {
  const date = new Date(2026, 0, 2, 3, 4, 5, 6);

  it.each([
    [wallTime(date), "03:04:05"],
    [exactTime(date), "03:04:05.006"],
    [duration(-1), "0 s"],
    [duration(59_999), "59 s"],
    [duration(252_000), "4 min 12 s"],
    [duration(7_500_000), "2 h 5 min"],
    [duration(273_600_000), "3 d 4 h"],
    [roundTrip(0.4), "<1 ms"],
    [roundTrip(12.4), "12 ms"],
    [roundTrip(1_230), "1.2 s"],
    [figure(1_234_567), "1,234,567"],
  ])("%s", (text, expected) => {
    expect(text).toBe(expected);
  });
});
