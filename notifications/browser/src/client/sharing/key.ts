/** Who may share: tabs of one user at one server. */
import { VERSION } from "./wire.ts";

/**
 * Name those who share a socket with this token. Tabs of different users have different names.
 *
 * The token is not verified: whoever runs in this origin has the user's tokens anyway.
 */
export async function shareName(url: string, token: string): Promise<string> {
  const text = JSON.stringify([VERSION, url, subject(token) ?? token]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `bellwether.${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
}

/** The `sub` of a JSON Web Token, which its successors have too. */
function subject(token: string): unknown {
  try {
    const claims = token.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/") ?? "";
    const { sub }: { sub?: unknown } = JSON.parse(atob(claims));
    return sub === undefined ? undefined : { sub };
  } catch {
    return undefined; // an API key, or whatever else the server takes
  }
}
