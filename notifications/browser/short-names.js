/**
 * Gives short names to the properties that only this client's own files use. Minifiers of
 * applications leave properties alone, since they cannot know that.
 *
 * The rule: a name belongs into short-names.json when nobody outside says it. It is in no public
 * type and no configuration, in no frame, no stored state and nothing that tabs say to each other,
 * and neither the platform nor the dashboard has it. tests/client/short-names.test.ts holds the
 * list to that.
 */
import { readFileSync } from "node:fs";

const names = JSON.parse(readFileSync(new URL("short-names.json", import.meta.url), "utf8"));
/** Without `t`, which a ping has. */
const LETTERS = "abcdefghijklmnopqrsuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** esbuild's options. The names are told to it, so that files which load each other agree. */
export const short = {
  mangleProps: new RegExp(`^(${names.join("|")})$`),
  mangleCache: Object.fromEntries(names.map((name, index) => [name, shortName(index)])),
};

/** One letter for those that stand first in the list, which are used most; then two. */
function shortName(index) {
  if (index >= LETTERS.length) return `$${shortName(index - LETTERS.length)}`;
  return LETTERS[index];
}
