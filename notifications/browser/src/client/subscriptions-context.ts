/** What the subscriptions need of the other parts of a client. */
import type { Environment } from "./environment.ts";
import type { Events } from "./events.ts";
import type { Inbox } from "./inbox.ts";
import type { Progress } from "./progress.ts";
import type { Replays } from "./replays.ts";
import type { Requests } from "./requests.ts";
import type { StateManager } from "./state-manager.ts";

export interface SubscriptionsContext {
  readonly environment: Pick<Environment, "after">;
  readonly events: Events;
  readonly inbox: Pick<Inbox, "base" | "replayed">;
  readonly progress: Pick<Progress, "cursor" | "seen">;
  readonly replays: Replays;
  readonly requests: Requests;
  readonly state: Pick<StateManager, "save">;
  /** All that was to be restored on this connection has been answered. */
  restored(): void;
}
