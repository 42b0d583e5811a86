/** The page as the server would send it, out of the real template. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const templates = join(import.meta.dirname, "../../../../templates");
const path = join(templates, "notifications/dashboard.html");

const VALUES: readonly [RegExp, string][] = [
  [/\{% url '([\w:-]+)' %\}/g, "/$1"],
  [/\{% csrf_token %\}/g, '<input type="hidden" name="csrfmiddlewaretoken" value="masked">'],
  [/\{\{ user\.pk \}\}/g, "7"],
  [/\{\{ user\.get_username \}\}/g, "amara"],
  [/\{%[^%]*%\}/g, ""],
];

/** Load the dashboard into the document; gives back its root. */
export function loadPage(): HTMLElement {
  const content = readFileSync(path, "utf8").split("{% block content %}")[1] ?? "";
  document.body.innerHTML = VALUES.reduce(
    (text, [pattern, value]) => text.replace(pattern, value),
    content,
  );
  const root = document.querySelector<HTMLElement>("#dashboard");
  if (root === null) throw new Error("the template has no #dashboard");
  return root;
}

/** Find one element, which must be there. */
export function one<T extends HTMLElement = HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`no ${selector}`);
  return found;
}

export function all(selector: string): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>(selector)];
}

/** Type a value into a field. */
export function type(selector: string, value: string): void {
  const field = one<HTMLInputElement>(selector);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Submit a form as its button does, and let what is promised come true. */
export async function submit(selector: string): Promise<void> {
  one(selector).dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
  await settle();
}

/** Let all promises that are due come true. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}
