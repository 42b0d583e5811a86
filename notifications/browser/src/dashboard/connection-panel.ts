/** The state of the connection, in words and colour, and the button that changes it. */
import type { ConnectionError, ConnectionState, NotificationClient } from "../client/index.ts";
import { duration, roundTrip, wallTime } from "./format.ts";
import { need, setText } from "./page.ts";

const ENDED = {
  client_initiated: "You disconnected. Messages are kept until you are back.",
  server_initiated: "The server ended this session.",
  network_error: "The server cannot be reached.",
  authentication_failed: "The server did not accept this login.",
  timeout: "The server stopped answering.",
  protocol_error: "This page and the server do not understand each other. Reload the page.",
} as const;

export class ConnectionPanel {
  readonly #client: NotificationClient;
  readonly #word: HTMLElement;
  readonly #lamp: HTMLElement;
  readonly #detail: HTMLElement;
  readonly #announcement: HTMLElement;
  readonly #countdown: HTMLElement;
  readonly #action: HTMLButtonElement;
  #lastError: ConnectionError | undefined;

  constructor(root: ParentNode, client: NotificationClient) {
    this.#client = client;
    this.#word = need(root, "#connection-state", HTMLElement);
    this.#lamp = need(root, "#connection-lamp", HTMLElement);
    this.#detail = need(root, "#connection-detail", HTMLElement);
    this.#announcement = need(root, "#connection-announcement", HTMLElement);
    this.#countdown = need(root, "#connection-countdown", HTMLElement);
    this.#action = need(root, "#connection-action", HTMLButtonElement);
    this.#action.addEventListener("click", () => {
      this.#act();
    });
  }

  /** Keep the words of an end: the state names only its kind. */
  ended(error: ConnectionError): void {
    this.#lastError = error;
  }

  show(state: ConnectionState): void {
    const { status } = state;
    if (status === "connecting") this.#lastError = undefined;
    this.#word.dataset["status"] = this.#lamp.dataset["status"] = status;
    setText(this.#word, status);
    const reason = status === "disconnected" ? state.reason : undefined;
    const trouble = reason !== undefined && reason !== "client_initiated";
    this.#lamp.dataset["trouble"] = String(trouble);
    setText(this.#action, actionLabel(state));
    const bad = status === "reconnecting" || status === "disconnected";
    setText(this.#announcement, bad ? this.#explain(state) : "");
    this.#countdown.hidden = status !== "reconnecting";
    this.tick(new Date());
  }

  /** Bring latency and countdown up to date. Outside the live region: nobody wants them read. */
  tick(now: Date): void {
    const state = this.#client.getConnectionState();
    setText(this.#detail, this.#explain(state));
    if (state.status !== "reconnecting") return;
    const left = state.nextRetryAt.getTime() - now.getTime();
    const when = left <= 0 ? "now" : `in ${duration(left + 999)}`;
    setText(this.#countdown, `Retry ${state.attempt} ${when}.`);
  }

  #explain(state: ConnectionState): string {
    switch (state.status) {
      case "connected":
        return [
          `To ${state.serverId} since ${wallTime(state.connectedAt)}.`,
          `Round trip ${roundTrip(state.latency)}.`,
        ].join(" ");
      case "connecting":
        return state.attempt === 0
          ? "Opening a connection."
          : `Retry ${state.attempt} is under way.`;
      case "reconnecting":
        return sentence(state.lastError.message);
      case "disconnected":
        if (this.#lastError !== undefined) return sentence(this.#lastError.message);
        return state.reason === undefined ? "Not connected yet." : ENDED[state.reason];
    }
  }

  #act(): void {
    const { status } = this.#client.getConnectionState();
    if (status === "connected" || status === "connecting") void this.#client.disconnect();
    else this.#client.connect().catch(() => undefined); // the state tells how it went
  }
}

function actionLabel({ status }: ConnectionState): string {
  switch (status) {
    case "connected":
      return "Disconnect";
    case "connecting":
      return "Cancel";
    case "reconnecting":
      return "Try now";
    case "disconnected":
      return "Connect";
  }
}

/** Begin with a capital and end with a full stop, whoever wrote it. */
function sentence(text: string): string {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
