/**
 * Drives the TypeScript client: commands as JSON lines on stdin, observations as JSON lines on
 * stdout. driver.py is its twin; tests/vectors/traces/README.md says what the lines mean.
 *
 * Arguments: the paths of the built client, of a file for its storage, and of the `ws` package.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [bundle, firstStorage, wsPath] = process.argv.slice(2);
const { WebSocket } = await import(pathToFileURL(wsPath).href);
const { createNotificationClient, NotificationError } = await import(pathToFileURL(bundle).href);

/** How long a handler takes that pauses, ms: something always waits when a connection breaks. */
const PAUSE = 2;

/** The constants by which a platform says that no close frame came. */
const UNSAID = [1005, 1006, undefined];

let client;
let storagePath = firstStorage;
let subscriptions = new Map();
const names = new Map();
/** The subscription that `subscribe` makes just now: its end may be told before it is returned. */
let making;
const orphans = new Map();
/** Calls of handlers that wait for `release`, oldest first, by subscription. */
const waiting = new Map();

function observe(observation) {
  process.stdout.write(`${JSON.stringify(observation)}\n`);
}

/** Leave out what is undefined or false. */
function sparse(fields) {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== false),
  );
}

const fileStorage = {
  all() {
    try {
      return JSON.parse(readFileSync(storagePath, "utf8"));
    } catch {
      return {};
    }
  },
  get(key) {
    return this.all()[key];
  },
  set(key, text) {
    writeFileSync(storagePath, JSON.stringify({ ...this.all(), [key]: text }));
  },
  remove(key) {
    const { [key]: _gone, ...rest } = this.all();
    writeFileSync(storagePath, JSON.stringify(rest));
  },
};

// --- What is observed -------------------------------------------------------------------------

function closeCode(error) {
  return UNSAID.includes(error.closeCode) ? undefined : error.closeCode;
}

/** A circuit that opens is asked a moment later how long it stays so. */
function rounded(delay) {
  return Math.round(delay / 5) * 5;
}

function seeState(state) {
  const { status, attempt, reason, serverId, lastError } = state;
  observe(
    sparse({
      state: status,
      attempt,
      server: serverId,
      delay: status === "reconnecting" ? rounded(state.backoffDelay) : undefined,
      reason: status === "reconnecting" ? lastError.reason : reason,
      closeCode: status === "reconnecting" ? closeCode(lastError) : undefined,
    }),
  );
}

const DETAILS = {
  recovered: ({ count, topic }) => ({ count, topic }),
  gap: ({ reason, topic }) => ({ reason, topic }),
  subscription_ended: ({ subscription, error }) => ({
    of: names.get(subscription.id) ?? making,
    code: error.code,
  }),
  connection_ended: ({ error }) => ({ reason: error.reason, closeCode: closeCode(error) }),
  handler_error: ({ error, message }) => ({ error: error.message, got: message.payload }),
  server_error: ({ error }) => ({ code: error.code }),
  unreadable_frame: () => ({}),
  orphan: (event) => {
    orphans.set(event.topic, event);
    return { topic: event.topic };
  },
  circuit: ({ circuit }) => ({ circuit }),
  storage_failed: () => ({}),
};

function seeEvent(event) {
  observe({ event: event.type, ...sparse(DETAILS[event.type]?.(event) ?? {}) });
}

function failure(error) {
  if (error instanceof NotificationError) {
    return sparse({ failed: error.code, temporary: error.temporary });
  }
  return sparse({ failed: error.reason ?? String(error), closeCode: closeCode(error) });
}

/** Print how a call ends, whether it throws at once or rejects later. */
function see(name, call, result = () => true) {
  let promise;
  try {
    promise = call();
  } catch (error) {
    observe({ call: name, ...failure(error) });
    return;
  }
  promise.then(
    (value) => observe({ call: name, ok: result(value) }),
    (error) => observe({ call: name, ...failure(error) }),
  );
}

// --- Handlers ---------------------------------------------------------------------------------

function handlerOf(name, behaviours = {}) {
  return ({ payload, replayed }) => {
    observe(sparse({ got: payload, by: name, replayed }));
    const behaviour = behaviours[JSON.stringify(payload)] ?? behaviours["*"];
    if (behaviour === "throw") throw new Error("thrown by the handler");
    if (behaviour === "pause") return new Promise((resolve) => setTimeout(resolve, PAUSE));
    if (behaviour === "wait") {
      return new Promise((resolve) => {
        const calls = waiting.get(name) ?? [];
        waiting.set(name, [...calls, () => { observe({ done: payload, by: name }); resolve(); }]);
      });
    }
    if (Array.isArray(behaviour)) for (const command of behaviour) run(command);
    return undefined;
  };
}

function optionsOf(name, { filter, onError, ...options } = {}) {
  return {
    ...options,
    ...(filter === "throw" ? { filter: () => { throw new Error("thrown by the filter"); } } : {}),
    ...(filter?.without ? { filter: ({ payload }) => !filter.without.includes(payload) } : {}),
    ...(onError
      ? { onError: (error, { payload }) => observe({ error: error.message, got: payload, by: name }) }
      : {}),
  };
}

// --- Commands ---------------------------------------------------------------------------------

/** Token functions answer one after the other what the scenario lists; the last one for ever. */
function authOf(auth) {
  if (typeof auth === "string") return auth;
  const answers = [...auth];
  return async () => {
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    observe({ token: answer });
    if (answer === "temporary") throw new Error("the token server is away");
    if (answer === "final") throw new NotificationError("UNAUTHENTICATED", "no such user");
    return answer;
  };
}

const COMMANDS = {
  new({ config, storage = firstStorage }) {
    storagePath = storage;
    client = createNotificationClient({
      webSocket: WebSocket,
      shared: false,
      storage: fileStorage,
      ...config,
      auth: authOf(config.auth),
    });
    subscriptions = new Map();
    client.onStateChange(seeState);
    client.onEvent(seeEvent);
  },
  connect: ({ as = "connect" }) => see(as, () => client.connect()),
  disconnect: ({ as = "disconnect" }) => see(as, () => client.disconnect()),
  subscribe({ as, topic, options, handler }) {
    making = as;
    const made = client.subscribe(topic, handlerOf(as, handler), optionsOf(as, options));
    subscriptions.set(as, made);
    names.set(made.id, as);
    made.ready.then(
      () => observe({ ready: as }),
      (error) => observe({ ready: as, ...failure(error) }),
    );
  },
  unsubscribe: ({ of }) => client.unsubscribe(subscriptions.get(of)?.id ?? of),
  end_orphan: ({ topic }) => orphans.get(topic).unsubscribe(),
  active: ({ of }) => observe({ active: of, is: subscriptions.get(of).isActive() }),
  release({ of }) {
    const [first, ...rest] = waiting.get(of);
    waiting.set(of, rest);
    first();
  },
  publish({ as, topic, payload, options }) {
    see(as, () => client.publish(topic, payload, options), ({ id, seq, duplicate }) =>
      sparse({ id, seq, duplicate }));
  },
  replay({ as, cursor, options = {} }) {
    const { subscription: of, ...rest } = options;
    const asked = of === undefined ? rest : { ...rest, subscription: subscriptions.get(of) };
    see(as, () => client.replay(cursor, asked), ({ recovered, count, reason }) =>
      ({ recovered, ...sparse({ count, reason }) }));
  },
  cursor: () => observe({ cursor: client.getCursor() ?? null }),
  state: () => seeState(client.getConnectionState()),
  stats() {
    const { messagesReceived, messagesSent, reconnectCount, waiting: waits, circuit, failures } =
      client.getStats();
    observe({
      stats: { messagesReceived, messagesSent, reconnectCount, waiting: waits, circuit },
      failures: failures.map((one) =>
        sparse({ reason: one.reason, attempt: one.attempt, closeCode: closeCode(one) })),
    });
  },
  latency: () => observe({ latency: client.getStats().averageLatency }),
  // Whatever was begun before has been done by then.
  echo: ({ id }) => setTimeout(() => setImmediate(() => observe({ echo: id })), 1),
};

function run(command) {
  COMMANDS[command.do](command);
}

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
process.exit(0);
