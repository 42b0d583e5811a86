/** Tells the application what no handler sees. */
import { Listeners } from "./listeners.ts";
import type { ClientEvent } from "./types.ts";

export class Events extends Listeners<ClientEvent> {
  emit(event: ClientEvent): void {
    if (this.tell(event)) return;
    // Nobody listens: what went wrong is said aloud.
    if (event.type === "handler_error") this.complain(event.error);
    else if ("error" in event || event.type === "gap") this.complain(event);
  }
}
