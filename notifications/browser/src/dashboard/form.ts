/** Errors at the fields of a form. */
import { NotificationError } from "../client/index.ts";
import { duration } from "./format.ts";

/** Show an error at a field, or (`form`) at the form as a whole; undefined takes it away. */
export function showError(form: HTMLFormElement, name: string, problem: string | undefined): void {
  const place = form.querySelector<HTMLElement>(`[data-error-for="${name}"]`);
  if (place !== null) {
    place.hidden = problem === undefined;
    place.textContent = problem ?? "";
  }
  const field = form.elements.namedItem(name);
  if (!(field instanceof HTMLElement)) return;
  if (problem === undefined) field.removeAttribute("aria-invalid");
  else field.setAttribute("aria-invalid", "true");
}

/** Say an error with what there is to do about it. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof NotificationError)) return error.message;
  const wait = error.retryAfter;
  const again = wait === undefined ? "" : ` Try again in ${duration(Math.max(1_000, wait))}.`;
  return `${error.message}${again}`;
}
