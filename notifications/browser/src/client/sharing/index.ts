/** One socket per browser: tabs of one origin and user share the connection of one of them. */
import type { Environment } from "../environment.ts";
import type { NotificationClientConfig } from "../types.ts";
import { Sharing } from "./sharing.ts";
import { browserSurroundings } from "./surroundings.ts";

/** Have sockets shared where the browser can, and the application's wishes allow it. */
export function sharing(environment: Environment, config: NotificationClientConfig): Environment {
  // Gathered messages are for one client: others would wait with it.
  const isWanted = config.shared !== false && config.batch === undefined;
  const surroundings = isWanted ? browserSurroundings(environment) : undefined;
  if (surroundings === undefined) return environment;
  return { ...environment, open: new Sharing(surroundings).open };
}
