/** What survives a reload: a second client with the storage of the first. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage, webStorage } from "../../src/client/storage.ts";
import type { StateStorage } from "../../src/client/storage.ts";
import type { ClientEvent, NotificationMessage } from "../../src/client/types.ts";
import { CURSOR, type Peer, complete, held, message } from "./fake-server.ts";
import { World, settled } from "./world.ts";

const HELD = { subscriptions: [held("s1", "user.1.*")] };

let world: World;
let storage: StateStorage;
let got: number[];

beforeEach(async () => {
  storage = memoryStorage();
  world = await World.open({ storage });
  got = [];
});
afterEach(() => world.close());

function note({ payload }: NotificationMessage): void {
  got.push((payload as { n: number }).n);
}

async function stored(key = `bellwether.${world.server.url}`): Promise<Record<string, unknown>> {
  return JSON.parse((await storage.get(key)) ?? "{}") as Record<string, unknown>;
}

async function subscribed(): Promise<Peer> {
  const peer = await world.connected();
  world.client.subscribe("user.1.*", note, { maxReplayAge: 9e9 });
  await peer.subscribed("s1");
  await world.caughtUp(peer);
  return peer;
}

/** Another page in the place of the first; gives back what it asked to resume. */
async function reload(answer: Record<string, unknown>): Promise<[Peer, unknown]> {
  world.hide();
  world.replace({ storage });
  const done = world.client.connect();
  const peer = await world.server.peers.next();
  const auth = await peer.accept(answer);
  await done;
  return [peer, auth["resume"]];
}

describe("the state", () => {
  it("has who the client is, its session, its place and its subscriptions", async () => {
    const peer = await subscribed();
    peer.send(message(11));
    await world.caughtUp(peer);
    expect(await stored()).toMatchObject({ cursor: CURSOR });
    world.clock.advance(250);
    expect(await stored()).toEqual({
      version: 1,
      clientId: "id-1",
      sessionId: "session-1",
      cursor: { epoch: "x1", offsets: { "0": 11, "1": 0 } },
      subscriptions: [
        {
          topic: "user.1.*",
          options: { maxReplayAge: 9e9 },
          createdAt: new Date(world.clock.time - 250).toISOString(),
        },
      ],
    });
  });

  it("is written when the page hides, and at disconnect", async () => {
    const peer = await subscribed();
    peer.send(message(11));
    await world.caughtUp(peer);
    world.hide();
    expect(await stored()).toMatchObject({ cursor: { offsets: { "0": 11 } } });
    peer.send(message(12));
    await world.caughtUp(peer);
    await world.client.disconnect();
    expect(await stored()).toMatchObject({ cursor: { offsets: { "0": 12 } } });
    expect(world.clock.waiting).toBe(0);
  });

  it("knows of an unsubscription at once", async () => {
    await subscribed();
    world.client.unsubscribe("subscription-1");
    expect(await stored()).toMatchObject({ subscriptions: [] });
  });

  it("lies under the name of the client where it has one", async () => {
    world.replace({ storage, clientId: "till-7" });
    const peer = await world.connected();
    expect((await stored("bellwether.till-7"))["clientId"]).toBe("till-7");
    peer.cut();
  });
});

describe("after a reload", () => {
  it("the client goes on where its handlers got to", async () => {
    const peer = await subscribed();
    peer.send([message(11), message(12)]);
    await world.caughtUp(peer);
    const [next, asked] = await reload({ resumed: true, ...HELD });
    const cursor = { epoch: "x1", offsets: { "0": 12, "1": 0 } };
    expect(asked).toEqual({ sessionId: "session-1", cursor });
    world.client.subscribe("user.1.*", note);
    next.send([message(13, { replayed: true }), complete({ count: 1 }), message(14)]);
    await world.caughtUp(next);
    expect(got).toEqual([11, 12, 13, 14]);
  });

  it("a subscription without a handler is told, and its messages wait for one", async () => {
    await subscribed();
    const [next] = await reload({ resumed: true, ...HELD });
    next.send([message(11, { replayed: true }), complete({ count: 1 }), message(12)]);
    await world.caughtUp(next);
    expect(world.heard()).toMatchObject([{ type: "orphan", topic: "user.1.*" }, { count: 1 }]);
    expect(world.client.getStats().waiting).toBe(2);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 10 } });
    const late = world.client.subscribe("user.1.*", note);
    expect(got).toEqual([]); // not before the caller has the subscription
    await late.ready;
    expect(got).toEqual([11, 12]);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 12 } });
  });

  it("over a bound the oldest of what waits is let go, and told once", async () => {
    await subscribed();
    const [next] = await reload({ resumed: true, ...HELD });
    const many = [...Array(1_003).keys()].map((n) => message(11 + n));
    next.send(complete());
    for (let n = 0; n < many.length; n += 100) next.send(many.slice(n, n + 100));
    await world.caughtUp(next);
    const gaps = world.heard().filter(({ type }) => type === "gap");
    expect(gaps).toEqual([{ type: "gap", reason: "NO_HANDLER", topic: "user.1.*" }]);
    await world.client.subscribe("user.1.*", note).ready;
    expect([got.length, got[0]]).toEqual([1_000, 14]);
  });

  it("a subscription that nobody wants can be ended", async () => {
    await subscribed();
    const [next] = await reload({ resumed: true, ...HELD });
    next.send([complete(), message(11)]);
    await next.expect("verify");
    await world.caughtUp(next);
    unsubscribeOf(world.heard()[0])();
    expect(await next.expect("unsubscribe")).toMatchObject({ subscriptionId: "s1" });
    expect(world.client.getStats().waiting).toBe(0);
    expect(world.client.getCursor()).toMatchObject({ offsets: { "0": 11 } });
    expect(await stored()).toMatchObject({ subscriptions: [] });
  });

  it("what the server lost is asked for again, from where the handlers were", async () => {
    await subscribed();
    const [next] = await reload({ resumed: true });
    next.send(complete());
    const { topic, options } = await next.subscribed("s2");
    expect([topic, options]).toEqual(["user.1.*", { maxReplayAge: 9e9, since: CURSOR }]);
    await world.caughtUp(next);
    expect(world.heard()).toMatchObject([{ type: "recovered" }, { type: "orphan" }]);
  });

  it("another running client's state is not taken", async () => {
    await subscribed();
    world.hide();
    world.isClaimed = true; // a duplicated tab begins with a copy of the store
    world.replace({ storage });
    const done = world.client.connect();
    const auth = await (await world.server.peers.next()).accept();
    await done;
    expect(auth["resume"]).toBeUndefined();
    expect(auth["clientId"]).not.toBe("id-1");
    expect(await stored()).toMatchObject({ clientId: auth["clientId"] });
  });

  it.each(["", "{", "[]", '{"version":2}', '{"version":1,"clientId":"no good!"}', "null"])(
    "%j in the store is nothing",
    async (text) => {
      await storage.set(`bellwether.${world.server.url}`, text);
      const peer = await world.connected();
      expect((await stored())["clientId"]).toBe("id-1");
      peer.cut();
    },
  );
});

describe("a storage", () => {
  it.each(["get", "set"] as const)("whose %s fails is told once, and done without", async (which) => {
    const fail = (): never => {
      throw new Error("full");
    };
    world.replace({ storage: { ...memoryStorage(), [which]: fail } });
    const peer = await world.connected();
    world.client.subscribe("user.1.*", note);
    await peer.subscribed("s1");
    await world.caughtUp(peer);
    expect(world.heard()).toMatchObject([{ type: "storage_failed", error: { message: "full" } }]);
  });

  it.each(["get", "set"] as const)("whose %s hangs has failed after a while", async (which) => {
    const hang = (): Promise<never> => new Promise(() => undefined);
    world.replace({ storage: { ...memoryStorage(), [which]: hang } });
    const done = world.client.connect();
    await settled();
    world.clock.advance(5_000);
    await (await world.server.peers.next()).accept();
    await done;
    await settled();
    expect(world.heard()).toMatchObject([{ type: "storage_failed" }]);
    expect(world.client.getStats().failures).toEqual([]);
  });

  it("that has something else is told of, and begins anew", async () => {
    await storage.set(`bellwether.${world.server.url}`, "{");
    await world.connected();
    expect(world.heard()).toMatchObject([{ type: "storage_failed", error: { name: "SyntaxError" } }]);
    expect(await stored()).toMatchObject({ sessionId: "session-1" });
  });

  it("may be slow", async () => {
    const slow: StateStorage = {
      get: (key) => settled().then(() => storage.get(key)),
      set: (key, text) => settled().then(() => storage.set(key, text)),
      remove: (key) => settled().then(() => storage.remove(key)),
    };
    world.replace({ storage: slow });
    await world.connected();
    await settled();
    await settled();
    expect((await stored())["sessionId"]).toBe("session-1");
  });

  it("of the web is read and written by its key", () => {
    const texts = new Map<string, string>();
    const web = webStorage({
      getItem: (key: string) => texts.get(key) ?? null,
      setItem: (key: string, text: string) => void texts.set(key, text),
      removeItem: (key: string) => void texts.delete(key),
    } as Storage);
    void web.set("a", "b");
    expect(web.get("a")).toBe("b");
    void web.remove("a");
    expect(web.get("a")).toBeNull();
  });
});

function unsubscribeOf(event: ClientEvent | undefined): () => void {
  if (event?.type !== "orphan") throw new Error("no orphan");
  return event.unsubscribe;
}
