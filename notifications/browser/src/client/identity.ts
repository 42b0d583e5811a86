/** The clientId: one running tab, kept over reloads. */

export interface IdStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** The part of the Web Locks API that is used. */
export interface IdLocks {
  request(
    name: string,
    options: { signal: AbortSignal },
    hold: () => Promise<void>,
  ): Promise<unknown>;
}

const KEY = "bellwether.clientId";

/** A tab that reloads frees its lock within this time; longer means that another tab lives. */
const LOCK_WAIT = 250;

/**
 * Find this tab's id in the store, or make one.
 *
 * A duplicated tab begins with a copy of the store, and two clients under one id would take the
 * session over from each other. A lock that lives as long as the page tells them apart: whoever
 * does not get it takes a new id. Without store or locks, the id lives as long as the page.
 */
export async function claimClientId(
  store: IdStore | undefined,
  locks: IdLocks | undefined,
  newId: () => string,
): Promise<string> {
  const kept = read(store);
  if (kept !== undefined && (await claim(locks, kept))) return kept;
  const fresh = newId();
  await claim(locks, fresh);
  try {
    store?.setItem(KEY, fresh);
  } catch {
    // Full or forbidden: the id lives as long as the page.
  }
  return fresh;
}

function read(store: IdStore | undefined): string | undefined {
  try {
    const kept = store?.getItem(KEY);
    return kept !== null && kept !== undefined && /^[\w-]{1,128}$/.test(kept) ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Take the lock for the life of the page; false when another page holds it. */
async function claim(locks: IdLocks | undefined, id: string): Promise<boolean> {
  if (locks === undefined) return true;
  return new Promise((resolve) => {
    const forever = new Promise<void>(() => undefined);
    locks
      .request(`${KEY}.${id}`, { signal: AbortSignal.timeout(LOCK_WAIT) }, () => {
        resolve(true);
        return forever;
      })
      .catch((error: unknown) => {
        resolve(!(error instanceof DOMException && error.name === "TimeoutError"));
      });
  });
}
