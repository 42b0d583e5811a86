/** One running client has a clientId for itself. */

/** The part of the Web Locks API that is used. */
export interface IdLocks {
  request(
    name: string,
    options: { signal: AbortSignal },
    hold: () => Promise<void>,
  ): Promise<unknown>;
}

/** A tab that reloads frees its lock within this time; longer means that another tab lives. */
const LOCK_WAIT = 2e3;

/**
 * Take a clientId for the life of the page; false when another page holds it.
 *
 * A duplicated tab begins with a copy of the store, and two clients under one id would take the
 * session over from each other. A lock that lives as long as the page tells them apart. Where there
 * are no locks, or they fail, the id is trusted.
 */
export async function claimClientId(locks: IdLocks | undefined, id: string): Promise<boolean> {
  if (locks === undefined) return true;
  return new Promise((resolve) => {
    locks
      .request(`bellwether.${id}`, { signal: AbortSignal.timeout(LOCK_WAIT) }, () => {
        resolve(true);
        return new Promise(() => undefined); // until the page is gone
      })
      .catch((error: unknown) => {
        resolve((error as Error).name !== "TimeoutError");
      });
  });
}
