// Calls vats by stock stubs of Cap'n Web, and checks here, in WebAssembly, what they answer. Any host may carry the frames; none is trusted: it can
// be silent, and then another one is tried, but it can't make an answer up.

import { RpcSession } from 'capnweb';
import { defaultStore } from './store.mjs';

// What goes into WebAssembly, and what comes out: see node/web/src/boundary.rs.
const IN = { text: 0, frame: 1, opened: 2, closed: 3, tick: 4 };
const OUT = { text: 0, frame: 1, leave: 2, end: 3, leaveLiar: 4 };

const TICK_MS = 200;
const PAUSE_FIRST_MS = 100;
const PAUSE_LAST_MS = 5_000;
const REFERENCES = 'reference/';

/** The session in WebAssembly: bytes in, bytes out. */
class Core {
  #wasm;
  #decoder = new TextDecoder();
  #encoder = new TextEncoder();

  constructor(instance, hosts) {
    this.#wasm = instance.exports;
    const entropy = crypto.getRandomValues(new Uint8Array(32));
    this.#wasm.quorate_start(this.#place(entropy), hosts);
  }

  #place(bytes) {
    const place = this.#wasm.quorate_alloc(bytes.length);
    new Uint8Array(this.#wasm.memory.buffer, place, bytes.length).set(bytes);
    return place;
  }

  /** Takes something in, and yields what is to be done. */
  take(kind, content = new Uint8Array()) {
    const bytes = typeof content === 'string' ? this.#encoder.encode(content) : content;
    this.#wasm.quorate_take(kind, this.#place(bytes), bytes.length, performance.now());
    const out = [];
    for (;;) {
      const next = BigInt.asUintN(64, this.#wasm.quorate_next());
      if (next === 0n) return out;
      const [place, length] = [Number(next >> 32n), Number(next & 0xffff_ffffn)];
      const given = new Uint8Array(this.#wasm.memory.buffer, place, length).slice();
      const rest = given.subarray(1);
      out.push([given[0], given[0] === OUT.frame ? rest : this.#decoder.decode(rest)]);
    }
  }
}

/** Between a stock session of Cap'n Web and the core: the two methods of its custom transport. */
class Transport {
  #queue = [];
  #waiting;
  #end;

  constructor(send) {
    this.send = async (message) => send(message);
  }

  give(message) {
    if (this.#waiting) {
      this.#waiting.resolve(message);
      this.#waiting = undefined;
    } else {
      this.#queue.push(message);
    }
  }

  end(error) {
    this.#end ??= error;
    this.#waiting?.reject(this.#end);
    this.#waiting = undefined;
  }

  receive() {
    if (this.#queue.length > 0) return Promise.resolve(this.#queue.shift());
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => { this.#waiting = { resolve, reject }; });
  }

  abort(reason) {
    this.end(reason);
  }
}

/** Sees to it that there is a connection to one of the hosts. */
class Connection {
  #hosts;
  #at = 0;
  #WebSocket;
  #events;
  #socket;
  #timer;
  #pause = PAUSE_FIRST_MS;
  #closed = false;

  constructor(hosts, WebSocket, events) {
    [this.#hosts, this.#WebSocket, this.#events] = [hosts, WebSocket, events];
    this.#connect();
  }

  get host() {
    return this.#hosts[this.#at % this.#hosts.length];
  }

  #connect() {
    const socket = new this.#WebSocket(this.host);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const isThis = () => this.#socket === socket;
    socket.addEventListener('open', () => {
      if (isThis()) this.#events.opened();
    });
    socket.addEventListener('message', ({ data }) => {
      if (!isThis() || typeof data === 'string') return;
      this.#pause = PAUSE_FIRST_MS;
      this.#events.frame(new Uint8Array(data));
    });
    const gone = () => {
      if (isThis()) this.#next();
    };
    socket.addEventListener('close', gone);
    socket.addEventListener('error', gone);
  }

  #next() {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#at += 1;
    this.#events.closed();
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#connect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, PAUSE_LAST_MS);
  }

  send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(frame);
  }

  /** The host is of no use: another one is connected to. */
  leave() {
    if (this.#socket) this.#next();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }
}

async function instantiate(wasm) {
  const source = (await wasm) ?? new URL('./quorate_web.wasm', import.meta.url);
  if (source instanceof WebAssembly.Module) return WebAssembly.instantiate(source, {});
  if (source instanceof URL && source.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    return (await WebAssembly.instantiate(await readFile(source), {})).instance;
  }
  if (source instanceof URL || typeof source === 'string') {
    return (await WebAssembly.instantiateStreaming(fetch(source), {})).instance;
  }
  return (await WebAssembly.instantiate(source, {})).instance;
}

class Quorate {
  #main;
  #connection;
  #ticks;
  #store;
  #transport;
  #core;

  constructor(core, hosts, options, store) {
    this.#core = core;
    this.#store = store;
    this.#transport = new Transport((message) => this.#take(IN.text, message));
    this.onHostLeft = options.onHostLeft;
    this.#connection = new Connection(hosts, options.WebSocket ?? globalThis.WebSocket, {
      opened: () => this.#take(IN.opened),
      frame: (bytes) => this.#take(IN.frame, bytes),
      closed: () => this.#take(IN.closed),
    });
    this.#ticks = setInterval(() => this.#take(IN.tick), TICK_MS);
    this.#main = new RpcSession(this.#transport).getRemoteMain();
  }

  #take(kind, content) {
    for (const [what, given] of this.#core.take(kind, content)) {
      if (what === OUT.text) {
        this.#transport.give(given);
      } else if (what === OUT.frame) {
        this.#connection.send(given);
      } else if (what === OUT.leave || what === OUT.leaveLiar) {
        this.onHostLeft?.(this.#connection.host, given, what === OUT.leaveLiar);
        this.#connection.leave();
      } else {
        this.#transport.end(new Error(given));
      }
    }
  }

  /** The host that is connected to, or tried next. */
  get host() {
    return this.#connection.host;
  }

  /** The stock stub of what the reference names: calls of it, and of what it answers, may be pipelined. */
  redeem(reference) {
    return this.#main.redeem(reference);
  }

  /** A text by which whoever has it comes back to an object. It is a secret. */
  keep(object) {
    return this.#main.keep(object);
  }

  /** What proves the answer of a call. To be asked before the call is awaited. */
  proof(call) {
    return this.#main.proof(call);
  }

  /** Keeps an object under a name, in the store that survives the page. */
  async remember(name, object) {
    await this.#store.put(REFERENCES + name, await this.keep(object));
  }

  /** What was kept under the name, or nothing. */
  async recall(name) {
    const reference = await this.#store.get(REFERENCES + name);
    return reference === undefined ? undefined : { stub: this.redeem(reference) };
  }

  async forget(name) {
    await this.#store.delete(REFERENCES + name);
  }

  /** Ends the session. The vats forget this client by themselves. */
  close() {
    clearInterval(this.#ticks);
    this.#connection.close();
    this.#transport.end(new Error('the session was closed'));
  }
}

/** See index.d.ts. */
export async function connect(hosts, options = {}) {
  const list = [hosts].flat().map((host) => {
    const url = new URL(host);
    if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
      throw new TypeError(`${host}: a host's gateway is named as ws://ADDRESS or wss://ADDRESS`);
    }
    if (url.pathname === '/') url.pathname = '/frames';
    return url.href;
  });
  if (list.length === 0) throw new TypeError('name a host at least: connect(["wss://…"])');
  if (!(options.WebSocket ?? globalThis.WebSocket)) {
    throw new TypeError('there is no WebSocket here: pass one as an option, such as that of the package `ws`');
  }
  const instance = await instantiate(options.wasm);
  return new Quorate(new Core(instance, list.length), list, options, options.store ?? defaultStore());
}
