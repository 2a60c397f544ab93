// Types of what the code of a vat finds: globals, and the modules that are built in. An installed package of the same name brings its own.

/** What `E(x)` offers for an object with the methods of `T`: each gives a promise of its answer, and is done in a later turn. */
type Eventual<T> = (T extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : unknown) & {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};
/** The same without answers. */
type EventualOnly<T> = (T extends (...args: infer A) => unknown ? (...args: A) => void : unknown) & {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => unknown ? (...args: A) => void : never;
};
/** What `E.get(x)` offers: a promise of each property. */
type EventualProperties<T> = { readonly [K in keyof T]: Promise<Awaited<T[K]>> };

interface EventualSend {
  /** Sends messages to `x`: an object of this vat, of another one, or a promise of either. */
  <T>(x: T | PromiseLike<T>): Eventual<T>;
  sendOnly<T>(x: T | PromiseLike<T>): EventualOnly<T>;
  get<T>(x: T | PromiseLike<T>): EventualProperties<T>;
  resolve<T>(x: T | PromiseLike<T>): Promise<T>;
  when<T, R = T, S = never>(
    x: T | PromiseLike<T>,
    onFulfilled?: (value: T) => R | PromiseLike<R>,
    onRejected?: (reason: unknown) => S | PromiseLike<S>,
  ): Promise<R | S>;
  /** Says to the vat that a call went to that its answer is not wanted any more. */
  cancel(answer: unknown): void;
  /** Fulfilled if the caller of the method that runs now cancels the call. To be asked for before the first `await`. */
  whenCancelled(): Promise<void>;
}

interface FarFunction {
  /** Makes an object or a function pass by reference, and hardens it. All of its properties are methods. */
  <T extends object>(name: string, object: T): T;
  <T extends object>(object: T): T;
}

interface PromiseKit<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (reason: unknown) => void;
}

type PassStyle =
  | 'undefined' | 'null' | 'boolean' | 'number' | 'bigint' | 'string' | 'symbol'
  | 'copyArray' | 'copyRecord' | 'byteArray' | 'tagged' | 'error' | 'promise' | 'remotable';

/** Data with a tag that travels with it. */
interface Tagged<Tag extends string = string, Payload = unknown> {
  readonly payload: Payload;
  readonly [Symbol.toStringTag]: Tag;
}

/** The endowment `timer`. Times are milliseconds since the Unix epoch, by the clock of the vat's log. */
interface VatTimer {
  now(): number;
  wakeAt(atMs: number): Promise<number>;
  delay(ms: number): Promise<number>;
  repeat(ms: number, handler: { wake(nowMs: number): unknown }): { cancel(): void };
  withDeadline<T>(value: T | PromiseLike<T>, ms: number): Promise<T>;
}

/** The endowment `publisher`. What it publishes, anybody can read without a message to the vat. */
interface VatPublisher {
  /** Values are data, which is copied. Throws if they are not, or are too large. */
  publish(name: string, value: unknown): void;
  /** Whether something was published there. */
  unpublish(name: string): boolean;
}

/** What the default export is called with: the arguments of the config, and the endowments among them. */
interface VatArgv {
  /** Ends the vat with this value. For vats on one host only. */
  readonly exit?: (value?: unknown, ...logged: unknown[]) => void;
  readonly timer?: VatTimer;
  readonly publisher?: VatPublisher;
  readonly [name: string]: unknown;
}

/** What outlives upgrades: what a default export gets as its second argument, and `buildRootObject` as its third. */
interface VatBaggage {
  has(key: unknown): boolean;
  get(key: unknown): any;
  init(key: unknown, value: unknown): void;
  set(key: unknown, value: unknown): void;
  delete(key: unknown): void;
  getSize(): number;
  keys(): readonly unknown[];
  values(): readonly unknown[];
  entries(): readonly (readonly [unknown, unknown])[];
  clear(): void;
}

/** What `buildRootObject` is called with first: the endowments, and these. */
interface VatPowers {
  readonly testLog: (...args: unknown[]) => void;
  readonly exitVat?: (completion?: unknown) => void;
  readonly exitVatWithFailure?: (reason: unknown) => void;
  readonly exit?: VatArgv['exit'];
  readonly timer?: VatTimer;
  readonly publisher?: VatPublisher;
}

/** What a file of tests (`vat test`) is called with: `export default ({ test }: VatTests) => { … }`. */
interface VatTests {
  readonly test: {
    (name: string, body: (t: VatTest) => unknown): void;
    skip(name: string, body: (t: VatTest) => unknown): void;
  };
}
interface VatTest {
  /** Starts a vat, and gives its root. */
  vat(path: string, argv?: object, options?: { name?: string; endowments?: ('timer' | 'publisher')[]; fuelPerDelivery?: number; memoryMb?: number }): Promise<any>;
  /** Starts all vats of a testnet's config, and gives their roots by name. */
  testnet(path: string): Promise<Record<string, any>>;
  is<T>(actual: T, expected: T, note?: string): void;
  not(actual: unknown, expected: unknown, note?: string): void;
  deepEqual(actual: unknown, expected: unknown, note?: string): void;
  true(actual: unknown, note?: string): void;
  false(actual: unknown, note?: string): void;
  truthy(actual: unknown, note?: string): void;
  /** `expected`: a part of the message, an expression for it, an error's class, or its name and message. */
  throws(run: () => unknown, expected?: ExpectedReason, note?: string): any;
  rejects(promise: unknown, expected?: ExpectedReason, note?: string): Promise<any>;
  pass(): void;
  fail(note?: string): void;
  log(...values: unknown[]): void;
  /** Fulfilled when no message is under way. */
  settle(): Promise<void>;
  advance(ms: number): Promise<void>;
  restart(): Promise<void>;
  now(): number;
  readonly timer: VatTimer;
  text(path: string): Promise<string>;
}
type ExpectedReason = string | RegExp | (new (...args: any[]) => Error) | { name?: string; message?: string | RegExp };

/** A promise with a syntax for sending: `vow.e.method(…)`. For code of before; new code uses `E`. */
interface Vow<T = any> extends Promise<T> {
  readonly e: { readonly [name: string]: (...args: any[]) => Vow };
  /** The same, in a flow of its own. */
  fork(): Vow<T>;
}
/** Vows of one flow keep their order. */
interface Flow {
  makeVow<T = any>(executor?: (resolve: (value: T | PromiseLike<T>) => void, reject: (reason: unknown) => void) => void): Vow<T>;
}

/** What `assert` throws with: a template of it hides what is in it from others, but for what `quote` marks. */
interface Assert {
  (flag: unknown, details?: unknown): asserts flag;
  equal<T>(actual: unknown, expected: T, details?: unknown): asserts actual is T;
  string(value: unknown, details?: unknown): asserts value is string;
  typeof(value: unknown, name: string, details?: unknown): void;
  fail(details?: unknown): never;
  Fail(template: TemplateStringsArray, ...args: unknown[]): never;
  details(template: TemplateStringsArray, ...args: unknown[]): object;
  quote(value: unknown): object;
  error(details?: unknown, constructor?: ErrorConstructor): Error;
  note(error: Error, details: unknown): void;
}

declare const E: EventualSend;
declare const Far: FarFunction;
/** Freezes all that can be reached from a value, and gives the value. */
declare const harden: <T>(value: T) => T;
declare const def: typeof harden;
declare const makePromiseKit: <T = any>() => PromiseKit<T>;
/** The number itself, if it is a whole number that is not negative; throws otherwise. */
declare const Nat: <T extends number | bigint>(value: T) => T;
declare const assert: Assert;
declare const Vow: {
  resolve<T>(value: T | PromiseLike<T>): Vow<T>;
  reject(reason: unknown): Vow<never>;
  all(values: Iterable<unknown>): Vow<any[]>;
  race(values: Iterable<unknown>): Vow;
  /** Fulfilled if both are the same. */
  join<T>(left: T | PromiseLike<T>, right: T | PromiseLike<T>): Vow<T>;
  fromFn<T>(fn: () => T | PromiseLike<T>): Vow<T>;
  isVow(value: unknown): value is Vow;
};
declare const asVow: <T>(value: T | PromiseLike<T>) => Vow<T>;
declare const Flow: { new (): Flow };
declare const log: (...args: unknown[]) => void;
declare const console: {
  log(...args: unknown[]): void;
  info(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  error(...args: unknown[]): void;
  debug(...args: unknown[]): void;
  trace(...args: unknown[]): void;
};
declare const SES: {
  confine(source: string, endowments?: Record<string, unknown>): any;
  confineExpr(source: string, endowments?: Record<string, unknown>): any;
};
declare class Compartment {
  constructor(options?: { globals?: Record<string, unknown>; __options__?: true });
  readonly globalThis: Record<string, unknown>;
  evaluate(source: string): any;
}
declare class TextEncoder {
  readonly encoding: 'utf-8';
  encode(text?: string): Uint8Array;
  encodeInto(text: string, destination: Uint8Array): { read: number; written: number };
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: 'utf-8';
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(input?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
}
declare const btoa: (text: string) => string;
declare const atob: (text: string) => string;
declare const structuredClone: <T>(value: T, options?: { transfer?: ArrayBuffer[] }) => T;
declare const queueMicrotask: (callback: () => void) => void;
declare const HandledPromise: PromiseConstructor & {
  get(target: unknown, key: PropertyKey): Promise<any>;
  getSendOnly(target: unknown, key: PropertyKey): void;
  applyFunction(target: unknown, args: unknown[]): Promise<any>;
  applyFunctionSendOnly(target: unknown, args: unknown[]): void;
  applyMethod(target: unknown, key: PropertyKey, args: unknown[]): Promise<any>;
  applyMethodSendOnly(target: unknown, key: PropertyKey, args: unknown[]): void;
};

declare module '@agoric/vat-data' {
  type Methods = { [name: string]: (...args: any[]) => unknown };
  type Facets<F> = { readonly [K in keyof F]: F[K] };
  interface Options<State, Context> {
    /** Called with what methods have as `this`, once an instance is there. */
    readonly finish?: (context: Context) => void;
    /** The state of an instance that was made before an upgrade, as this code has it. */
    readonly migrate?: (state: any) => State;
    /** What each value of a state must match: patterns of `@endo/patterns`. */
    readonly stateShape?: { readonly [K in keyof State]: unknown };
  }
  interface DurableOption {
    readonly durable: true;
  }
  interface VatSet {
    has(key: unknown): boolean;
    add(key: unknown): void;
    delete(key: unknown): void;
    getSize(): number;
    keys(): readonly unknown[];
    values(): readonly unknown[];
    clear(): void;
  }
  /** An interface guard, `M.interface(…)` of `@endo/patterns`, which must be installed; or nothing. */
  type Guard = object | undefined;
  /** One object for all time, under this name. */
  export const prepareExo: <M extends Methods>(
    baggage: VatBaggage,
    name: string,
    guard: Guard,
    methods: M & ThisType<{ state: {}; self: M }>,
    options?: Options<{}, { state: {}; self: M }>,
  ) => M;
  /** A function that makes instances with a state of their own. */
  export const prepareExoClass: <A extends any[], S extends object, M extends Methods>(
    baggage: VatBaggage,
    name: string,
    guard: Guard,
    init: (...args: A) => S,
    methods: M & ThisType<{ state: S; self: M }>,
    options?: Options<S, { state: S; self: M }>,
  ) => (...args: A) => M;
  /** The same, of instances with several facets. */
  export const prepareExoClassKit: <
    A extends any[],
    S extends object,
    F extends { [facet: string]: Methods },
  >(
    baggage: VatBaggage,
    name: string,
    guards: { readonly [K in keyof F]?: Guard } | undefined,
    init: (...args: A) => S,
    facets: F & { [K in keyof F]: ThisType<{ state: S; facets: Facets<F> }> },
    options?: Options<S, { state: S; facets: Facets<F> }>,
  ) => (...args: A) => Facets<F>;
  export const provide: <T>(store: VatBaggage, key: string, make: (key: string) => T) => T;
  export const makeScalarBigMapStore: (label: string | undefined, options: DurableOption) => VatBaggage;
  export const makeScalarBigSetStore: (label: string | undefined, options: DurableOption) => VatSet;
  export const provideDurableMapStore: (store: VatBaggage, key: string) => VatBaggage;
  export const provideDurableSetStore: (store: VatBaggage, key: string) => VatSet;
  export const initEmpty: () => {};
}
declare module '@endo/far' {
  const send: EventualSend;
  const far: FarFunction;
  export { send as E, far as Far };
  export const passStyleOf: (value: unknown) => PassStyle;
  export const getInterfaceOf: (value: unknown) => string | undefined;
}
declare module '@endo/eventual-send' {
  const send: EventualSend;
  const handled: typeof HandledPromise;
  export { send as E, handled as HandledPromise };
}
declare module '@endo/harden' {
  const freeze: <T>(value: T) => T;
  export { freeze as harden, freeze as default };
}
declare module '@endo/nat' {
  export const Nat: (value: number | bigint) => bigint;
  export const isNat: (value: unknown) => boolean;
  export const ZERO_N: 0n;
  export const ONE_N: 1n;
}
declare module '@endo/promise-kit' {
  export const makePromiseKit: <T = any>() => PromiseKit<T>;
  export const isPromise: (value: unknown) => value is Promise<unknown>;
}
declare module '@endo/pass-style' {
  const far: FarFunction;
  export { far as Far };
  export const PASS_STYLE: unique symbol;
  export const passStyleOf: (value: unknown) => PassStyle;
  export const getInterfaceOf: (value: unknown) => string | undefined;
  export const makeTagged: <Tag extends string, Payload>(tag: Tag, payload: Payload) => Tagged<Tag, Payload>;
  export const getTag: (tagged: Tagged) => string;
  export const deeplyFulfilled: (value: unknown) => Promise<any>;
}
declare module '@endo/marshal' {
  export { Far, passStyleOf, getInterfaceOf, makeTagged, getTag, deeplyFulfilled } from '@endo/pass-style';
}
declare module '@agoric/eventual-send' {
  export { E, HandledPromise } from '@endo/eventual-send';
}
declare module '@agoric/harden' {
  const freeze: <T>(value: T) => T;
  export { freeze as default };
}
declare module '@agoric/nat' {
  /** The number itself, as the global `Nat` gives it. */
  const nat: <T extends number | bigint>(value: T) => T;
  export { nat as Nat, nat as default };
  export const isNat: (value: unknown) => boolean;
}
/** Lockdown is done: these may be imported, and do nothing. */
declare module 'ses' {}
declare module '@endo/init' {}
declare module '@endo/lockdown' {}
