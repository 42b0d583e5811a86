/** Counts for getStats. */
import type { ConnectionState, ConnectionStats } from "./types.ts";

type Counted = Omit<ConnectionStats, "messagesSent" | "failures" | "circuit" | "waiting">;

export class Statistics {
  received = 0;
  #connections = 0;
  #connectedAt = 0;
  #latencies = 0;
  #latencySum = 0;
  #lastHeartbeat = 0;

  /** Note a new connection and the round trip of its handshake. `elapsed`: for its age. */
  connected(latency: number, now: number, elapsed: number): void {
    this.#connections += 1;
    this.#connectedAt = elapsed;
    this.measured(latency, now);
  }

  /** Note a round trip. */
  measured(latency: number, now: number): void {
    this.#latencies += 1;
    this.#latencySum += latency;
    this.#lastHeartbeat = now;
  }

  /** Read what is counted here. */
  read(state: ConnectionState, elapsed: number): Counted {
    return {
      messagesReceived: this.received,
      reconnectCount: Math.max(0, this.#connections - 1),
      averageLatency: this.#latencySum / this.#latencies || 0,
      uptime: state.status === "connected" ? elapsed - this.#connectedAt : 0,
      lastHeartbeat: new Date(this.#lastHeartbeat),
    };
  }
}
