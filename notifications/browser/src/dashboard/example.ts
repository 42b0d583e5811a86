/** The command that the empty feed suggests. */
import { isPattern } from "../client/index.ts";

/** Write a curl command that publishes something which this page would show. */
export function curlExample(publishUrl: string, topic: string): string {
  const body = JSON.stringify({ topic, payload: { text: "Hello" } });
  return [
    `curl -X POST ${publishUrl} \\`,
    `  -H "Authorization: Api-Key $KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${body}'`,
  ].join("\n");
}

/** Name a topic that a (valid) pattern matches. Valid ones have no character that a shell reads. */
export function exampleTopic(pattern: string): string {
  if (!isPattern(pattern)) return pattern;
  return pattern
    .split(".")
    .map((segment) => (segment.startsWith("*") ? "hello" : segment))
    .join(".");
}
