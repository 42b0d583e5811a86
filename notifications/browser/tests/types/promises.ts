/** What the package declares keeps what the original design promises, and adds to it. */
import type * as Ours from "@bellwether/client";
import type * as Seed from "./seed.ts";

/** A value of the one may stand where the other is expected. */
type Fits<From, To> = [From] extends [To] ? true : false;
/** ... and the other way round. */
type Same<A, B> = [A] extends [B] ? Fits<B, A> : false;
/** Equal in what the design names, in its optional marks too; what is added must be optional. */
type Extends<More, Less> = [keyof Less] extends [keyof More]
  ? Same<Pick<More, keyof Less>, Less> extends true
    ? Same<More, Less>
    : false
  : false;
type Assert<Holds extends true> = Holds;

/** What an application writes. Additions are optional, so each fits in the place of the other. */
export type Written = [
  Assert<Extends<Ours.NotificationClientConfig, Seed.NotificationClientConfig>>,
  Assert<Extends<Ours.RetryConfig, Seed.RetryConfig>>,
  Assert<Extends<Ours.QueueConfig, Seed.QueueConfig>>,
  Assert<Extends<Ours.SubscriptionOptions, Seed.SubscriptionOptions>>,
  Assert<Same<Ours.MessageHandler, Seed.MessageHandler>>,
  Assert<Same<Ours.MessageHandler<{ id: number }>, Seed.MessageHandler<{ id: number }>>>,
  Assert<Same<Ours.MessageErrorHandler, Seed.MessageErrorHandler>>,
];

/** What an application reads: additions may be always there. */
export type Read = [
  Assert<Extends<Ours.NotificationMessage, Seed.NotificationMessage>>,
  Assert<Extends<Ours.NotificationMessage<string>, Seed.NotificationMessage<string>>>,
  Assert<Same<Ours.DisconnectReason, Seed.DisconnectReason>>,
  Assert<Same<Ours.ConnectionState["status"], Seed.ConnectionState["status"]>>,
  Assert<Fits<Ours.ConnectionState, Seed.ConnectionState>>,
  Assert<Fits<Ours.ConnectionStats, Seed.ConnectionStats>>,
  Assert<Same<Pick<Ours.ConnectionStats, keyof Seed.ConnectionStats>, Seed.ConnectionStats>>,
  Assert<Fits<Ours.Subscription, Seed.Subscription>>,
  Assert<Same<Pick<Ours.Subscription, keyof Seed.Subscription>, Seed.Subscription>>,
  Assert<Fits<Ours.NotificationClient, Seed.NotificationClient>>,
];

/** Each state by itself: its fields, and which of them may be absent. */
type State<S extends { status: string }, Name extends S["status"]> = Extract<S, { status: Name }>;
type SameState<Name extends Seed.ConnectionState["status"]> = Same<
  Pick<
    State<Ours.ConnectionState, Name>,
    keyof State<Seed.ConnectionState, Name> & keyof State<Ours.ConnectionState, Name>
  >,
  State<Seed.ConnectionState, Name>
>;
export type States = [
  Assert<SameState<"disconnected">>,
  Assert<SameState<"connecting">>,
  Assert<SameState<"connected">>,
  Assert<SameState<"reconnecting">>,
];

/** Methods take what the design says that they take, and give no less. */
type SameMethod<Name extends keyof Seed.NotificationClient> = Same<
  Parameters<Ours.NotificationClient[Name]>,
  Parameters<Seed.NotificationClient[Name]>
> extends true
  ? // Where the seed gives nothing, something is an addition.
    [ReturnType<Seed.NotificationClient[Name]>] extends [void]
    ? true
    : Fits<ReturnType<Ours.NotificationClient[Name]>, ReturnType<Seed.NotificationClient[Name]>>
  : false;
export type Methods = [
  Assert<SameMethod<"connect">>,
  Assert<SameMethod<"disconnect">>,
  Assert<SameMethod<"subscribe">>,
  Assert<SameMethod<"unsubscribe">>,
  Assert<SameMethod<"getConnectionState">>,
  Assert<SameMethod<"onStateChange">>,
  Assert<SameMethod<"getStats">>,
  Assert<Same<keyof Seed.NotificationClient, keyof Seed.NotificationClient & keyof Ours.NotificationClient>>,
];

/** The checks above can fail. */
export type Checks = [
  // @ts-expect-error an optional field is no required one
  Assert<Extends<{ a?: string }, { a: string }>>,
  // @ts-expect-error an optional field that is missing
  Assert<Extends<{ a: string }, { a: string; b?: string }>>,
  // @ts-expect-error a wider type
  Assert<Same<"a" | "b", "a">>,
  // @ts-expect-error a field that every writer would have to give
  Assert<Extends<{ a: string; b: string }, { a: string }>>,
  // @ts-expect-error a method that takes less
  Assert<Same<Parameters<(a: string) => void>, Parameters<(a: string | number) => void>>>,
];
