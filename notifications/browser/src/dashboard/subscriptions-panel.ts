/** The form that subscribes, and the list of what is subscribed. */
import {
  type NotificationClient,
  type NotificationMessage,
  type Subscription,
  patternProblem,
} from "../client/index.ts";
import { errorText, showError } from "./form.ts";
import { figure } from "./format.ts";
import { make, need, setText } from "./page.ts";

interface Item {
  readonly subscription: Subscription;
  readonly element: HTMLLIElement;
  received: number;
}

export interface SubscriptionsEvents {
  message(message: NotificationMessage): void;
  /** The topics changed; in the order in which they were added. */
  changed(topics: readonly string[]): void;
}

export class SubscriptionsPanel {
  readonly #client: NotificationClient;
  readonly #events: SubscriptionsEvents;
  readonly #form: HTMLFormElement;
  readonly #input: HTMLInputElement;
  readonly #list: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #items = new Map<string, Item>();

  constructor(root: ParentNode, client: NotificationClient, events: SubscriptionsEvents) {
    this.#client = client;
    this.#events = events;
    this.#form = need(root, "#subscribe-form", HTMLFormElement);
    this.#input = need(this.#form, "[name=topic]", HTMLInputElement);
    this.#list = need(root, "#subscriptions", HTMLElement);
    this.#empty = need(root, "#subscriptions-empty", HTMLElement);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#input.addEventListener("input", () => {
      showError(this.#form, "topic", undefined);
    });
  }

  /** Take over a subscription that the server holds from an earlier visit. */
  adopt(topic: string): void {
    if (!this.#items.has(topic)) void this.#add(topic).catch(() => undefined);
  }

  /** The server ended one; false when it had never confirmed it: then the form tells. */
  ended(topic: string): boolean {
    const confirmed = this.#items.get(topic)?.element.dataset["phase"] === "active";
    this.#remove(topic);
    return confirmed;
  }

  #remove(topic: string): void {
    const item = this.#items.get(topic);
    if (item === undefined) return;
    item.element.remove();
    this.#items.delete(topic);
    this.#changed();
  }

  async #submit(): Promise<void> {
    const topic = this.#input.value.trim();
    const problem =
      patternProblem(topic) ?? (this.#items.has(topic) ? "You have this one already." : undefined);
    showError(this.#form, "topic", problem);
    if (problem !== undefined) {
      this.#input.focus();
      return;
    }
    try {
      await this.#add(topic);
    } catch (error) {
      showError(this.#form, "topic", errorText(error));
      this.#input.focus();
    }
  }

  /** Subscribe and list it; rejects, and takes it off again, when the server refuses. */
  async #add(topic: string): Promise<void> {
    const element = make("li", "subscription");
    const subscription = this.#client.subscribe(topic, (message) => {
      item.received += 1;
      setText(count, figure(item.received));
      this.#events.message(message);
    });
    const item: Item = { subscription, element, received: 0 };
    const count = make("span", "subscription-count", "0");
    count.title = "Messages received on this page";
    element.dataset["topic"] = topic;
    element.dataset["phase"] = "pending";
    element.append(make("span", "subscription-topic", topic), count, this.#removeButton(topic));
    this.#list.append(element);
    this.#items.set(topic, item);
    this.#changed();
    try {
      await subscription.ready;
      element.dataset["phase"] = "active";
    } catch (error) {
      this.#remove(topic);
      throw error;
    }
  }

  #removeButton(topic: string): HTMLButtonElement {
    const button = make("button", "button quiet small", "Unsubscribe");
    button.type = "button";
    button.setAttribute("aria-label", `Unsubscribe from ${topic}`);
    button.addEventListener("click", () => {
      const item = this.#items.get(topic);
      const after = item?.element.nextElementSibling ?? item?.element.previousElementSibling;
      item?.subscription.unsubscribe();
      this.#remove(topic);
      // The focus would fall off the page with the button that had it.
      (after?.querySelector("button") ?? this.#input).focus();
    });
    return button;
  }

  #changed(): void {
    this.#empty.hidden = this.#items.size > 0;
    this.#events.changed([...this.#items.keys()]);
  }
}
