// A program that calls a vat by a stock client of Cap'n Web: `node client.mjs STEP URL REFERENCE`. It says in JSON what the next step needs,
// and fails if anything is not as it should be.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { newHttpBatchRpcSession, newWebSocketRpcSession, RpcTarget } from 'capnweb';
import { WebSocket } from 'ws';

// Node.js has it from version 22 on.
globalThis.WebSocket ??= WebSocket;

const [step, url, reference] = process.argv.slice(2);
const socket = () => new WebSocket(`ws://${url}/capnweb`);
const session = () => newWebSocketRpcSession(socket());
const rejects = (promise, wanted) => assert.rejects(async () => promise, wanted);

class Bell extends RpcTarget {
  rung = [];
  ring(value) { this.rung.push(value); return this.rung.length; }
}

class Friend extends RpcTarget {
  constructor(counter) { super(); this.counter = counter; }
  friend() { return this.counter.dup(); }
}

class Listener extends RpcTarget {
  heard = [];
  async hear(news, counter) {
    this.heard.push(news);
    return counter.add(this.heard.length);
  }
}

const steps = {
  async everything() {
    const api = session();
    const desk = api.redeem(reference);
    assert.equal(await desk.greet('Ada'), 'hello Ada');

    // Values as they are.
    const bytes = new Uint8Array([0, 255, 7]);
    const value = {
      list: [1, 'two', null, true, [[]]], big: 123456789012345678901234567890n, bytes, nothing: undefined,
      inf: Infinity, text: 'é\n"', error: new RangeError('far'),
    };
    const back = await desk.echo(value);
    assert.equal(back.error.name, 'RangeError');
    assert.equal(back.error.message, 'far');
    // The client gives a Buffer in Node.js.
    assert.deepEqual({ ...back, bytes: new Uint8Array(back.bytes), error: 0 }, { ...value, error: 0 });
    assert.ok(Number.isNaN(await desk.echo(NaN)));
    await rejects(desk.echo(new Date()), /date/);
    await rejects(desk.decimal(), /symbol/);
    await rejects(desk.fail(), { name: 'TypeError', message: 'that is no name' });
    await rejects(desk.missing(), /missing/);
    await rejects(api.redeem('vat://nothing'), /not a sturdyref/);

    // Pipelining: none of these waits for the one before.
    const counter = desk.makeCounter();
    const added = [counter.add(2), counter.add(3), desk.total([counter, counter])];
    assert.deepEqual(await Promise.all(added), [2, 5, 10]);
    const { first, all } = await desk.counters();
    assert.equal(await first.add(1), 1);
    assert.equal(await all[1].add(4), 4);
    assert.equal(await desk.total([first, ...all]), 5);
    assert.equal(await desk.length(desk.greet('Bob')), 9);
    assert.equal(await desk.counters().all[0].add(6), 6);

    // The vat calls back.
    const bell = new Bell();
    assert.deepEqual(await desk.ring(bell, { a: 1n }), ['rang', 1]);
    assert.deepEqual(bell.rung, [{ a: 1n }]);
    assert.equal(await desk.apply((one, two) => `${one} and ${two}`, 'one', 2), 'one and 2');
    await rejects(desk.apply(() => { throw new RangeError('too far'); }), { name: 'RangeError', message: 'too far' });
    const own = await desk.makeCounter();
    assert.equal(await desk.friend(new Friend(own)), 5);
    assert.equal(await own.count(), 5);
    const listener = new Listener();
    assert.equal(await desk.subscribe(listener), 1);
    assert.deepEqual(await desk.tell('first'), [1]);
    assert.deepEqual(await desk.tell('second'), [2]);
    assert.deepEqual(listener.heard, ['first', 'second']);
    await desk.unsubscribe();

    // What outlives the session.
    const kept = await api.keep(own);
    await desk.save(own);
    assert.match(kept, /^vat:\/\/[0-9a-f]{64}\/\d+#[0-9a-f]{64}$/);
    await rejects(api.keep(7), /object/);
    return { kept };
  },

  // A reference from an earlier session, and the object that the vat has had since.
  async again() {
    const api = session();
    const counter = api.redeem(reference);
    const count = await counter.add(1);
    assert.equal(await counter.count(), count);
    return { count };
  },

  // Goes on with an open session when it is told that the leader is gone.
  async open() {
    const api = session();
    const desk = api.redeem(reference);
    const counter = await desk.makeCounter();
    const listener = new Listener();
    await desk.subscribe(listener);
    assert.equal(await counter.add(1), 1);
    console.log('ready');
    await new Promise(resolve => createInterface({ input: process.stdin }).once('line', resolve));
    assert.equal(await counter.add(1), 2);
    assert.deepEqual(await desk.tell('still here'), [1]);
    await desk.unsubscribe();
    return { count: await counter.count() };
  },

  async batch() {
    const api = newHttpBatchRpcSession(`http://${url}/capnweb`);
    const desk = api.redeem(reference);
    const counter = desk.makeCounter();
    const answers = await Promise.all([desk.greet('batch'), counter.add(2), desk.total([counter])]);
    assert.deepEqual(answers, ['hello batch', 2, 2]);
    return {};
  },

  // Who does not keep to the protocol, or may not connect.
  async bad() {
    const end = message => new Promise((resolve, reject) => {
      const bad = socket();
      const heard = [];
      bad.on('open', () => bad.send(message));
      bad.on('message', text => heard.push(JSON.parse(text)));
      bad.on('close', code => resolve({ code, heard }));
      bad.on('error', reject);
    });
    for (const message of ['[', '["sing"]', '["pull",4]', Buffer.from([1, 2])]) {
      const { code, heard } = await end(message);
      assert.equal(code, 1008, `${message}`);
      assert.equal(heard.at(-1)[0], 'abort');
    }
    const page = origin => fetch(`http://${url}/capnweb`, { method: 'POST', body: '', headers: { origin } });
    assert.equal((await page('https://elsewhere.example')).status, 403);
    const good = await page('https://example.org');
    assert.equal(good.status, 200);
    assert.equal(good.headers.get('access-control-allow-origin'), 'https://example.org');
    const large = await fetch(`http://${url}/capnweb`, { method: 'POST', body: 'x'.repeat(2 << 20) });
    assert.equal(large.status, 413);
    return {};
  },
};

console.log(JSON.stringify(await steps[step]()));
process.exit(0);
