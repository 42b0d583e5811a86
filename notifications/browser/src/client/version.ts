/** The version that the client names to the server; package.json has the same. */
export const VERSION = "0.1.0";
