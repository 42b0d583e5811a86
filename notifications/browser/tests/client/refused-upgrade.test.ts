/** A real socket of `ws`, and upgrades that are refused: browsers hide why, Node tells. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type ConnectionState, type Failure, createNotificationClient } from "../../src/client/index.ts";

const server = createServer();
let answer = "";
server.on("upgrade", (_request, socket) => socket.end(`HTTP/1.1 ${answer}\r\n\r\n`));

afterEach(() => {
  server.close();
});

/** Connect to a server that answers like this; gives the first two states, and the failure. */
async function statesAfter(refusal: string): Promise<[ConnectionState[], Failure | undefined]> {
  answer = refusal;
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const url = `ws://127.0.0.1:${port}/ws`;
  const client = createNotificationClient({ url, auth: "key", webSocket: WebSocket });
  const states: ConnectionState[] = [];
  await new Promise<void>((resolve) => {
    client.onStateChange((state) => {
      states.push(state);
      if (states.length === 2) resolve();
    });
    client.connect().catch(() => undefined);
  });
  await client.disconnect();
  return [states.slice(0, 2), client.getStats().failures[0]];
}

it.each(["404 Not Found", "403 Forbidden", "302 Found"])("%s ends it", async (refusal) => {
  const [states, failure] = await statesAfter(refusal);
  expect(states[1]).toMatchObject({ status: "disconnected", reason: "protocol_error" });
  // No close came, so there is no code of one.
  const message = `The server refused the connection with ${refusal.slice(0, 3)}.`;
  expect(failure).toMatchObject({ reason: "protocol_error", message });
  expect(failure).not.toHaveProperty("closeCode");
});

it.each(["503 Service Unavailable", "429 Too Many Requests"])("%s is tried again", async (refusal) => {
  const [states, failure] = await statesAfter(`${refusal}\r\nRetry-After: 7`);
  expect(states[1]).toMatchObject({ status: "reconnecting", backoffDelay: 7000 });
  expect(failure).toMatchObject({ reason: "network_error" });
  expect(failure).not.toHaveProperty("closeCode");
});
