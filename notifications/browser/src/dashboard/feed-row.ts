/** One message of the feed. Topic and payload are hostile text: they are only ever text. */
import type { NotificationMessage } from "../client/index.ts";
import { exactTime } from "./format.ts";
import { make } from "./page.ts";

/** What a closed row shows of a payload; the rest is a click away. */
const PREVIEW = 300;
/** What the filter looks into: 500 rows of 48 KiB would be much to keep twice. */
const SEARCHED = 2_000;

export interface FeedRow {
  readonly element: HTMLLIElement;
  /** Absent on a marker. */
  readonly id: string | undefined;
  /** What the filter looks into, in lower case. */
  readonly haystack: string;
}

/** Show a message; opened, it shows all there is to it. */
export function messageRow(message: NotificationMessage, open: boolean): FeedRow {
  const { id, topic, seq, timestamp, metadata } = message;
  const compact = JSON.stringify(message.payload) ?? "";
  const element = make("li", "row");
  element.dataset["messageId"] = id;
  element.dataset["topic"] = topic;
  element.dataset["seq"] = seq === undefined ? "" : String(seq);
  if (metadata?.priority !== undefined) element.dataset["priority"] = metadata.priority;

  const time = make("time", "row-time", exactTime(timestamp));
  time.dateTime = timestamp.toISOString();
  const summary = make("summary", "row-line");
  summary.append(
    time,
    make("span", "row-topic", topic),
    make("code", "row-payload", compact.slice(0, PREVIEW)),
    marks(message),
    make("span", "row-seq", seq === undefined ? "" : `#${seq}`),
  );

  const details = make("details");
  details.append(summary);
  details.addEventListener("toggle", () => {
    // Built when first seen: most rows never are.
    if (details.open && details.childElementCount === 1) details.append(fullMessage(message));
  });
  details.open = open;
  if (open) details.append(fullMessage(message));
  element.append(details);
  return { element, id, haystack: `${topic} ${compact.slice(0, SEARCHED)}`.toLowerCase() };
}

/** Say between the messages that something happened to the connection. */
export function markerRow(text: string, at: Date, tone: "info" | "warn"): FeedRow {
  const element = make("li", "marker");
  element.dataset["tone"] = tone;
  const time = make("time", "row-time", exactTime(at));
  time.dateTime = at.toISOString();
  element.append(time, make("span", "", text));
  return { element, id: undefined, haystack: text.toLowerCase() };
}

function marks({ metadata, replayed }: NotificationMessage): HTMLElement {
  const place = make("span", "row-marks");
  const priority = metadata?.priority;
  if (priority !== undefined && priority !== "normal") {
    const mark = make("span", "mark", priority);
    mark.dataset["priority"] = priority;
    place.append(mark);
  }
  if (replayed === true) {
    const mark = make("span", "mark", "replayed");
    mark.title = "Published while you were away";
    place.append(mark);
  }
  return place;
}

function fullMessage(message: NotificationMessage): HTMLElement {
  const { id, position, metadata } = message;
  const place = make("div", "row-full");
  place.append(make("pre", "row-json", JSON.stringify(message.payload, null, 2) ?? ""));
  const facts = make("dl", "row-facts");
  const rows: [string, string | undefined][] = [
    ["id", id],
    ["position", position?.join(" : ")],
    ["source", metadata?.source],
    ["correlation", metadata?.correlationId],
    ["expires", metadata?.expiresAt?.toISOString()],
  ];
  for (const [name, value] of rows) {
    if (value === undefined) continue;
    const fact = make("div");
    fact.append(make("dt", "", name), make("dd", "", value));
    facts.append(fact);
  }
  place.append(facts);
  return place;
}
