import type { RpcStub } from 'capnweb';
import type { Store } from './store.js';

/** One of those who sign for a vat. */
export interface Member {
  /** As the vat's members call it. */
  name: string;
  /** Its public key. */
  key: string;
  /** Whether its signature is in the proof. A proof holds as many as must sign, so others may have signed, too. */
  signed: boolean;
}

/** What proves an answer. */
export interface Proof {
  /** For people: `2 of 3 signed, block 14`. */
  text: string;
  /** The block of the vat that has the answer. */
  block: number;
  epoch: number;
  /** Who signed it, by name. */
  signers: string[];
  /** How many have to sign, and all who may. */
  threshold: number;
  members: Member[];
  /** A file that `vat verify` accepts, offline. */
  file: Uint8Array;
}

export interface Options {
  /** The module `quorate_web.wasm`, where it is not beside this file. */
  wasm?: BufferSource | WebAssembly.Module | URL | string | Promise<BufferSource | WebAssembly.Module>;
  /** In Node.js before version 22: that of the package `ws`. */
  WebSocket?: unknown;
  /** Where references are kept. In browsers it is IndexedDB by default; elsewhere it lasts as long as the process. */
  store?: Store;
  /** A host was left, for this reason: it brought what can't be true (`hasLied`), it is silent, or it does not carry the vat. */
  onHostLeft?: (host: string, why: string, hasLied: boolean) => void;
}

export interface Quorate {
  /** The host that is connected to, or tried next. */
  readonly host: string;
  /** The stock stub of what a reference names (`vat://…`): calls of it, and of what it answers, may be pipelined. */
  redeem<T = any>(reference: string): RpcStub<T>;
  /** A text by which whoever has it comes back to an object. It is a secret. */
  keep(object: unknown): Promise<string>;
  /** What proves the answer of a call: `const call = counter.increment(); const proof = await quorate.proof(call)`. Ask before the call is awaited. */
  proof(call: unknown): Promise<Proof>;
  /** Keeps an object under a name, so that a page that is loaded again finds it. */
  remember(name: string, object: unknown): Promise<void>;
  /** The stub of what was kept under the name, or nothing. (A stub by itself would be awaited.) */
  recall<T = any>(name: string): Promise<{ stub: RpcStub<T> } | undefined>;
  forget(name: string): Promise<void>;
  close(): void;
}

/**
 * Begins a session by the gateways of these hosts (`wss://ADDRESS`), of which one is connected to at a time. The hosts carry the vats that are called.
 */
export function connect(hosts: string | string[], options?: Options): Promise<Quorate>;
