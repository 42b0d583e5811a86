import type { Cancel, Environment } from "./environment.ts";

/** Wait for what the application gives us, so many milliseconds at most. Rejects when they are over. */
export async function within<T>(
  limit: number,
  { after }: Pick<Environment, "after">,
  work: T | Promise<T>,
): Promise<T> {
  let cancel: Cancel | undefined;
  const late = new Promise<never>((_, reject) => {
    cancel = after(limit, () => {
      reject(new Error("It took too long."));
    });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    cancel?.();
  }
}
