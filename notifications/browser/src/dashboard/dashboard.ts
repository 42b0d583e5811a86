/** The dashboard: joins the client and the panels. */
import { type ClientEvent, type NotificationClient, patternProblem } from "../client/index.ts";
import type { DashboardConfig } from "./config.ts";
import { ConnectionPanel } from "./connection-panel.ts";
import { curlExample, exampleTopic } from "./example.ts";
import { Feed } from "./feed.ts";
import { Figures } from "./figures.ts";
import { errorText } from "./form.ts";
import type { Post } from "./http.ts";
import { Notices } from "./notices.ts";
import { need, setText } from "./page.ts";
import { PublishForm } from "./publish-form.ts";
import { SubscriptionsPanel } from "./subscriptions-panel.ts";

/** How often countdown and figures are brought up to date. */
const TICK = 500;

export interface DashboardContext {
  readonly config: DashboardConfig;
  readonly client: NotificationClient;
  readonly post: Post;
  newKey(): string;
  /** Run once, before the next painting. */
  schedule(run: () => void): void;
  copy(text: string): Promise<void>;
}

/** Bring the page to life and connect. */
export function startDashboard(root: HTMLElement, context: DashboardContext): void {
  const { client, config } = context;
  const notices = new Notices(need(root, "#notices", HTMLElement));
  const feed = new Feed(root, context.schedule);
  const connection = new ConnectionPanel(root, client);
  const figures = new Figures(root);
  const showExample = example(root, context);
  const subscriptions = new SubscriptionsPanel(root, client, {
    message: (message) => {
      feed.add(message);
    },
    changed: showExample,
  });
  new PublishForm(root, config.publishUrl, context.post, context.newKey);
  showExample([]);

  const tick = (): void => {
    connection.tick(new Date());
    figures.show(client.getConnectionState(), client.getStats());
  };
  let wasConnected = false;
  client.onStateChange((state) => {
    connection.show(state);
    if (wasConnected && state.status !== "connected") {
      const mine = state.status === "disconnected" && state.reason === "client_initiated";
      feed.mark(mine ? "Disconnected." : "Connection lost.", new Date());
    }
    wasConnected = state.status === "connected";
    tick();
  });
  client.onEvent((event) => {
    if (event.type === "orphan") subscriptions.adopt(event.topic);
    else if (event.type === "connection_ended") connection.ended(event.error);
    else if (event.type === "subscription_ended") {
      const { topic } = event.subscription;
      if (subscriptions.ended(topic)) warn(`${topic}: ${errorText(event.error)}`);
    }
    tell(event);
  });
  connection.show(client.getConnectionState());
  setInterval(tick, TICK);
  client.connect().catch(() => undefined); // the state tells how it went

  function warn(text: string): void {
    notices.show({ text, tone: "warn" });
  }

  function tell(event: ClientEvent): void {
    switch (event.type) {
      case "recovered":
        feed.mark(recoveryText(event), new Date());
        return;
      case "gap":
        feed.mark("Messages may be missing before this point.", new Date(), "warn");
        return;
      case "connection_ended":
        if (event.error.reason === "authentication_failed") {
          const link = { href: config.loginUrl, text: "Log in" };
          notices.show({ text: "Your login has ended.", tone: "bad", link });
        }
        return;
      case "server_error":
        warn(errorText(event.error));
        return;
      case "unreadable_frame":
        warn("The server sent something that this page cannot read. Reload the page.");
        return;
      case "handler_error":
        console.error(event.error);
        return;
      case "storage_failed":
        warn("This browser keeps nothing for this page: a reload begins anew.");
        return;
      case "orphan":
      case "subscription_ended":
      case "circuit":
        return;
    }
  }
}

function recoveryText({ count }: Extract<ClientEvent, { type: "recovered" }>): string {
  if (count === 0) return "Connected again. Nothing was missed.";
  const messages = count === 1 ? "message was" : "messages were";
  return `Connected again. ${count} missed ${messages} delivered.`;
}

/** Set up the command in the empty feed; gives back what shows it for the present topics. */
function example(
  root: ParentNode,
  { config, copy }: DashboardContext,
): (topics: readonly string[]) => void {
  const place = need(root, "#curl-example", HTMLElement);
  const button = need(root, "#curl-copy", HTMLButtonElement);
  const hint = need(root, "#feed-hint", HTMLElement);
  const first = hint.textContent ?? "";
  button.addEventListener("click", () => {
    copy(place.textContent ?? "").then(
      () => {
        setText(button, "Copied");
      },
      () => {
        getSelection()?.selectAllChildren(place); // then the user copies
      },
    );
  });
  return (topics) => {
    const pattern = topics.find((topic) => patternProblem(topic) === undefined);
    const topic = exampleTopic(pattern ?? `user.${config.userId}.hello`);
    setText(place, curlExample(config.publishUrl, topic));
    setText(button, "Copy");
    const waiting =
      "Waiting for messages. Publish one with the form on this page, or from a terminal:";
    setText(hint, topics.length === 0 ? first : waiting);
  };
}
