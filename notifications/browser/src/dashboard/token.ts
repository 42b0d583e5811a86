/** Access tokens for the socket, out of the browser's login. */
import { NotificationError } from "../client/index.ts";
import type { Post } from "./http.ts";

/** Make the client's `auth` function. Who is no longer logged in stops the client. */
export function newTokenSource(post: Post, url: string): () => Promise<string> {
  return async () => {
    try {
      const { access } = await post(url, {});
      if (typeof access === "string" && access !== "") return access;
    } catch (error) {
      // 403: the session is gone, or the page holds the CSRF token of an earlier one.
      if (error instanceof NotificationError && error.code === "HTTP_403") throw loggedOut();
      if (error instanceof NotificationError && error.code === "FORBIDDEN") throw loggedOut();
      throw error;
    }
    throw new NotificationError("INTERNAL", "The server gave no token.", { temporary: true });
  };
}

function loggedOut(): NotificationError {
  return new NotificationError("UNAUTHENTICATED", "Your login has ended. Log in again.");
}
