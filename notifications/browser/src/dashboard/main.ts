/** The page's entry. */
import { createNotificationClient } from "../client/index.ts";
import { readConfig } from "./config.ts";
import { startDashboard } from "./dashboard.ts";
import { csrfToken, newPost } from "./http.ts";
import { need } from "./page.ts";
import { newTokenSource } from "./token.ts";

const root = need(document, "#dashboard", HTMLElement);
const config = readConfig(root, location.href);
const post = newPost(fetch.bind(globalThis), () => csrfToken(document));

startDashboard(root, {
  config,
  post,
  client: createNotificationClient({
    url: config.socketUrl,
    auth: newTokenSource(post, config.tokenUrl),
    // A page that is open wants to be connected: it never gives up by itself.
    retryConfig: {
      maxRetries: 0,
      initialDelay: 1_000,
      maxDelay: 30_000,
      backoffMultiplier: 2,
      jitter: true,
    },
  }),
  newKey: () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`,
  schedule: (run) => {
    requestAnimationFrame(run);
  },
  copy: (text) => navigator.clipboard.writeText(text),
});
