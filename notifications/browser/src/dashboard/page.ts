/** Finding and filling the page's elements. Text goes in as text, never as markup. */

/** Find an element that the template must have. */
export function need<T extends Element>(
  root: ParentNode,
  selector: string,
  kind: abstract new (...args: never[]) => T,
): T {
  const element = root.querySelector(selector);
  if (element instanceof kind) return element;
  throw new Error(`The page lacks ${selector}.`);
}

/** Make an element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

/** Set a text only when it differs, so that nothing is painted or announced again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
