/** The strip of statistics. */
import type { ConnectionState, ConnectionStats } from "../client/index.ts";
import { duration, figure, roundTrip } from "./format.ts";
import { need, setText } from "./page.ts";

const NONE = "–";

export class Figures {
  readonly #received: HTMLElement;
  readonly #reconnects: HTMLElement;
  readonly #latency: HTMLElement;
  readonly #uptime: HTMLElement;

  constructor(root: ParentNode) {
    this.#received = need(root, "#stat-received", HTMLElement);
    this.#reconnects = need(root, "#stat-reconnects", HTMLElement);
    this.#latency = need(root, "#stat-latency", HTMLElement);
    this.#uptime = need(root, "#stat-uptime", HTMLElement);
  }

  show(state: ConnectionState, stats: ConnectionStats): void {
    const connected = state.status === "connected";
    setText(this.#received, figure(stats.messagesReceived));
    setText(this.#reconnects, figure(stats.reconnectCount));
    const measured = stats.lastHeartbeat.getTime() > 0;
    setText(this.#latency, measured ? roundTrip(stats.averageLatency) : NONE);
    setText(this.#uptime, connected ? duration(stats.uptime) : NONE);
  }
}
