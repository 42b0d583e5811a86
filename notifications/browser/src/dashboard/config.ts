/** What the server tells the page, in data attributes. */

export interface DashboardConfig {
  readonly socketUrl: string;
  readonly tokenUrl: string;
  /** Absolute, as a command line needs it. */
  readonly publishUrl: string;
  readonly loginUrl: string;
  readonly userId: string;
}

/** Read the root element's attributes; `base` is the page's address. */
export function readConfig(root: HTMLElement, base: string): DashboardConfig {
  const socket = new URL(attribute(root, "socketPath"), base);
  socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
  return {
    socketUrl: socket.href,
    tokenUrl: attribute(root, "tokenUrl"),
    publishUrl: new URL(attribute(root, "publishUrl"), base).href,
    loginUrl: attribute(root, "loginUrl"),
    userId: attribute(root, "userId"),
  };
}

function attribute(root: HTMLElement, name: string): string {
  const value = root.dataset[name];
  if (value === undefined || value === "") throw new Error(`The page lacks data-${name}.`);
  return value;
}
