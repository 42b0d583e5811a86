/** Figures as a person reads them. */

/** `14:02:11`, in the reader's time zone. */
export function wallTime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `14:02:11.123`, in the reader's time zone. */
export function exactTime(date: Date): string {
  return `${wallTime(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A duration by its two largest units: `3 s`, `4 min 12 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(millis: number): string {
  const seconds = Math.max(0, Math.floor(millis / 1_000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

/** A round trip: `<1 ms`, `12 ms`, `1.2 s`. */
export function roundTrip(millis: number): string {
  if (millis < 1) return "<1 ms";
  return millis < 1_000 ? `${Math.round(millis)} ms` : `${(millis / 1_000).toFixed(1)} s`;
}

export function figure(value: number): string {
  return value.toLocaleString("en");
}
