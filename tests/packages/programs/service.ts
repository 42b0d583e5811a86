// A user's Node service: node service.js URL KEY
import { createNotificationClient, type NotificationMessage } from "@bellwether/client";
import { WebSocket } from "ws";

const [url = "", key = ""] = process.argv.slice(2);
const client = createNotificationClient({ url, auth: key, webSocket: WebSocket });

let hasBoth = (): void => undefined;
const both = new Promise<void>((resolve) => {
  hasBoth = resolve;
});
let count = 0;

function handle({ topic, payload }: NotificationMessage<{ text: string }>): void {
  console.log(topic, payload.text);
  count += 1;
  if (count === 2) hasBoth();
}

const subscription = client.subscribe("user.7.*", handle, {
  filter: ({ topic }) => topic === "user.7.orders",
});
await client.connect();
await subscription.ready;
console.log("ready");
await both;
await client.publish("user.7.replies", { text: "thanks" }, { idempotencyKey: "only-once" });
console.log("published");
await client.disconnect();
console.log(client.getConnectionState().status);
