/** What sharing takes from the browser, so that a test can give it something else. */
import type { Cancel, Environment } from "../environment.ts";
import { shareName } from "./key.ts";

/** A BroadcastChannel: what is posted reaches the channels of this name in other places. */
export interface Channel {
  post(message: object): void;
  close(): void;
}

/** Text by key; a store that fails keeps nothing, and says nothing. */
export interface Store {
  get(key: string): string | undefined;
  set(key: string, text: string): void;
}

export interface Surroundings {
  readonly environment: Environment;
  /** Name those who share a socket with this token. */
  readonly name: typeof shareName;
  /**
   * Ask for a lock, and hold it from `granted` on until that resolves or the page is gone.
   *
   * Rejects where the user forbids storage, and locks with it.
   */
  lock(name: string, granted: () => Promise<void>): Promise<unknown>;
  channel(name: string, heard: (message: unknown) => void): Channel;
  /** This tab's, kept over reloads. */
  readonly session: Store;
  /** All tabs'. */
  readonly local: Store;
  /** Call `hide` before the page is left or put aside, `show` when it is taken up again. */
  onPage(hide: () => void, show: () => void): Cancel;
}

/** Find what a page needs to share a socket. */
export function browserSurroundings(environment: Environment): Surroundings {
  return {
    environment,
    name: shareName,
    lock: async (name, granted) => navigator.locks.request(name, granted),
    channel(name, heard) {
      const channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => {
        heard(data);
      };
      return {
        post: (message) => {
          channel.postMessage(message);
        },
        close: () => {
          channel.close();
        },
      };
    },
    session: storeOf(() => sessionStorage),
    local: storeOf(() => localStorage),
    onPage(hide, show) {
      const shown = ({ persisted }: PageTransitionEvent): void => {
        if (persisted) show();
      };
      addEventListener("pagehide", hide);
      addEventListener("pageshow", shown);
      return () => {
        removeEventListener("pagehide", hide);
        removeEventListener("pageshow", shown);
      };
    },
  };
}

/** Reading the property alone throws where the user forbids storage. */
function storeOf(storage: () => Storage): Store {
  return {
    get(key) {
      try {
        return storage().getItem(key) ?? undefined;
      } catch {
        return undefined;
      }
    },
    set(key, text) {
      try {
        storage().setItem(key, text);
      } catch {
        // Then a reload, or another leading tab, begins anew.
      }
    },
  };
}
