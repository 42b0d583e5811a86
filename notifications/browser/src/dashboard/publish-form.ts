/** The form that publishes over REST. */
import { topicProblem } from "../client/index.ts";
import { errorText, showError } from "./form.ts";
import type { Json, Post } from "./http.ts";
import { jsonProblem } from "./json-problem.ts";
import { need, setText } from "./page.ts";

export class PublishForm {
  readonly #form: HTMLFormElement;
  readonly #topic: HTMLInputElement;
  readonly #payload: HTMLTextAreaElement;
  readonly #priority: HTMLSelectElement;
  readonly #button: HTMLButtonElement;
  readonly #result: HTMLElement;
  readonly #send: (body: Json) => Promise<Json>;
  readonly #newKey: () => string;
  /** Of the contents as they are: an attempt whose answer was lost is not stored twice. */
  #key: string | undefined;
  #busy = false;

  constructor(root: ParentNode, url: string, post: Post, newKey: () => string) {
    this.#form = need(root, "#publish-form", HTMLFormElement);
    this.#topic = need(this.#form, "[name=topic]", HTMLInputElement);
    this.#payload = need(this.#form, "[name=payload]", HTMLTextAreaElement);
    this.#priority = need(this.#form, "[name=priority]", HTMLSelectElement);
    this.#button = need(this.#form, "[type=submit]", HTMLButtonElement);
    this.#result = need(root, "#publish-result", HTMLElement);
    this.#send = (body) => post(url, body);
    this.#newKey = newKey;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#form.addEventListener("input", () => {
      this.#key = undefined;
      setText(this.#result, "");
      for (const name of ["topic", "payload", "form"]) showError(this.#form, name, undefined);
    });
    this.#payload.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
  }

  async #submit(): Promise<void> {
    if (this.#busy) return;
    setText(this.#result, "");
    showError(this.#form, "form", undefined);
    const body = this.#read();
    if (body === undefined) return;
    this.#setBusy(true);
    try {
      const answer = await this.#send(body);
      this.#key = undefined;
      setText(this.#result, describe(answer));
    } catch (error) {
      showError(this.#form, "form", errorText(error));
    } finally {
      this.#setBusy(false);
    }
  }

  /** Check the fields; undefined, with the errors shown, when one is wrong. */
  #read(): Json | undefined {
    const topic = this.#topic.value.trim();
    const topicWrong = topicProblem(topic);
    const text = this.#payload.value;
    const wrong = jsonProblem(text);
    const where = wrong && `Line ${wrong.line}, column ${wrong.column}: ${wrong.message}.`;
    showError(this.#form, "topic", topicWrong);
    showError(this.#form, "payload", where);
    if (topicWrong !== undefined) {
      this.#topic.focus();
      return undefined;
    }
    if (wrong !== undefined) {
      this.#payload.focus();
      this.#payload.setSelectionRange(wrong.offset, wrong.offset + 1);
      return undefined;
    }
    const payload: unknown = JSON.parse(text);
    this.#key ??= this.#newKey();
    const metadata = { priority: this.#priority.value };
    return { topic, payload, metadata, idempotencyKey: this.#key };
  }

  /** Not `disabled`: that would take the focus away. */
  #setBusy(busy: boolean): void {
    this.#busy = busy;
    this.#button.setAttribute("aria-disabled", String(busy));
    setText(this.#button, busy ? "Publishing…" : "Publish");
  }
}

function describe(answer: Json): string {
  const { id, topic, seq } = answer;
  const place = typeof seq === "number" ? ` as #${seq}` : "";
  const again = answer["duplicate"] === true ? " (it was stored already)" : "";
  return `Published to ${String(topic)}${place}${again}.\nid ${String(id)}`;
}
