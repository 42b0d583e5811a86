/** Requests to the server that served this page, with its CSRF token. */
import { NotificationError } from "../client/index.ts";

export type Json = Readonly<Record<string, unknown>>;

/** Send JSON and read JSON. The browser's session cookie authenticates. */
export interface Post {
  (url: string, body: Json): Promise<Json>;
}

/**
 * Make a Post.
 *
 * Its promise rejects with a NotificationError: the server's own code and words where it answered
 * with a problem, `UNAUTHENTICATED` where it answered with a login page, `UNREACHABLE` where it did
 * not answer.
 */
export function newPost(fetcher: typeof fetch, csrfToken: () => string): Post {
  return async (url, body) => {
    let response: Response;
    try {
      response = await fetcher(url, {
        method: "POST",
        credentials: "same-origin",
        redirect: "manual", // a redirect leads to the login page
        headers: {
          Accept: "application/json",
          "Content-Type": "application/json",
          "X-CSRFToken": csrfToken(),
        },
        body: JSON.stringify(body),
      });
    } catch {
      throw new NotificationError("UNREACHABLE", "The server cannot be reached.", {
        temporary: true,
      });
    }
    const answer = await readJson(response);
    if (response.ok && answer !== undefined) return answer;
    throw refusal(response, answer);
  };
}

/** Find the CSRF token: the cookie, or where scripts may not read it, a form's hidden field. */
export function csrfToken(page: Document): string {
  const cookie = /(?:^|;\s*)csrftoken=([^;]+)/.exec(page.cookie)?.[1];
  if (cookie !== undefined) return cookie;
  const field = page.querySelector<HTMLInputElement>("input[name=csrfmiddlewaretoken]");
  return field?.value ?? "";
}

async function readJson(response: Response): Promise<Json | undefined> {
  try {
    const value: unknown = await response.json();
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Json)
      : undefined;
  } catch {
    return undefined;
  }
}

function refusal(response: Response, problem: Json | undefined): NotificationError {
  const { status } = response;
  const redirected = response.type === "opaqueredirect" || (response.ok && problem === undefined);
  if (redirected || status === 401) {
    const words = problem?.["detail"];
    return new NotificationError(
      "UNAUTHENTICATED",
      typeof words === "string" ? words : "Your login has ended. Log in again.",
    );
  }
  const code = problem?.["code"];
  const words = [problem?.["detail"], problem?.["title"], problem?.["message"]].find(
    (text) => typeof text === "string" && text !== "",
  );
  const seconds = Number(response.headers.get("Retry-After") ?? "");
  return new NotificationError(
    typeof code === "string" ? code : `HTTP_${status}`,
    typeof words === "string" ? words : `The server answered with status ${status}.`,
    {
      temporary: status === 429 || status >= 500,
      retryAfter: seconds > 0 ? seconds * 1_000 : undefined,
    },
  );
}
