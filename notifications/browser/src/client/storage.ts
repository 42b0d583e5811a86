/** Where the client keeps its state over a reload. */

/**
 * A place for texts under keys.
 *
 * Methods may return promises, for stores that have nothing else; the client reads once, before it
 * connects, and does not wait for what it writes. When a page goes away only a store that writes at
 * once is sure to have the last state, which is why the browser's two are used as they are.
 */
export interface StateStorage {
  get(key: string): string | null | undefined | Promise<string | null | undefined>;
  set(key: string, text: string): void | Promise<void>;
  remove(key: string): void | Promise<void>;
}

/** What is used of a web Storage; its own type would ask Node's users for the types of the DOM. */
export interface WebStore {
  getItem(key: string): string | null;
  setItem(key: string, text: string): void;
  removeItem(key: string): void;
}

/** Keep the state in a web Storage: `sessionStorage` is the tab's, `localStorage` the browser's. */
export function webStorage(store: WebStore): StateStorage {
  return {
    get: (key) => store.getItem(key),
    set: (key, text) => {
      store.setItem(key, text);
    },
    remove: (key) => {
      store.removeItem(key);
    },
  };
}

/** Keep the state as long as this object lives. */
export function memoryStorage(): StateStorage {
  const texts = new Map<string, string>();
  return {
    get: (key) => texts.get(key),
    set: (key, text) => {
      texts.set(key, text);
    },
    remove: (key) => {
      texts.delete(key);
    },
  };
}
