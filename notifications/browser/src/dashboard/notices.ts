/** Messages to the user at the top of the page. */
import { make } from "./page.ts";

/** More than these, and the oldest goes. */
const MAX_NOTICES = 3;

export interface Notice {
  readonly text: string;
  readonly tone: "info" | "warn" | "bad";
  readonly link?: { readonly href: string; readonly text: string };
}

export class Notices {
  readonly #place: HTMLElement;

  constructor(place: HTMLElement) {
    this.#place = place;
  }

  /** Show a notice; the same text again replaces the earlier one. */
  show({ text, tone, link }: Notice): void {
    for (const old of [...this.#place.children]) {
      if (old.querySelector(".notice-text")?.textContent === text) old.remove();
    }
    const notice = make("div", "notice");
    notice.dataset["tone"] = tone;
    notice.append(make("span", "notice-text", text));
    if (link !== undefined) {
      const anchor = make("a", "", link.text);
      anchor.href = link.href;
      notice.append(anchor);
    }
    const dismiss = make("button", "button quiet small", "Dismiss");
    dismiss.type = "button";
    dismiss.addEventListener("click", () => {
      notice.remove();
    });
    notice.append(dismiss);
    this.#place.append(notice);
    while (this.#place.children.length > MAX_NOTICES) this.#place.firstElementChild?.remove();
  }
}
