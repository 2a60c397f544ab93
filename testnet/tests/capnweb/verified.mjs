// A program that calls a vat by the client that checks for itself: `node verified.mjs STEP HOSTS REFERENCE FILE`. It says in JSON what the next step
// needs, and fails if anything is not as it should be.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { WebSocket, WebSocketServer } from 'ws';
import { connect } from '../../../node/web/js/index.mjs';

const [step, hosts, reference, file] = process.argv.slice(2);
const urls = hosts.split(',').map((host) => `ws://${host}`);
const wasm = readFile(process.env.QUORATE_WEB_WASM);

// A store in a file, as an application has one.
const fileStore = () => {
  const kept = () => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {});
  return {
    async get(key) { return kept()[key]; },
    async put(key, value) { writeFileSync(file, JSON.stringify({ ...kept(), [key]: value })); },
    async delete(key) { writeFileSync(file, JSON.stringify({ ...kept(), [key]: undefined })); },
  };
};

const session = (to = urls, options = {}) => connect(to, { WebSocket, wasm, ...options });

// Stands between the client and a host, and changes what comes from the host, or keeps it back.
async function liar(url, change) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (client) => {
    const host = new WebSocket(`${url}/frames`);
    const early = [];
    client.on('message', (message) => (host.readyState === 1 ? host.send(message) : early.push(message)));
    host.on('open', () => early.forEach((message) => host.send(message)));
    host.on('message', (message) => {
      const changed = change(message);
      if (changed) client.send(changed);
    });
    host.on('close', () => client.close());
    host.on('error', () => client.close());
    client.on('close', () => host.close());
  });
  return { url: `ws://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

const jello = (message) => {
  const changed = Buffer.from(message);
  for (let at = changed.indexOf('hello '); at >= 0; at = changed.indexOf('hello ', at)) changed.write('jello ', at);
  return changed;
};

const steps = {
  async calls() {
    const quorate = await session();
    const desk = quorate.redeem(reference);
    assert.equal(await desk.greet('Ada'), 'hello Ada');
    // Pipelined: the second and third call leave before the first is answered.
    const counter = desk.makeCounter();
    assert.deepEqual(await Promise.all([counter.add(2), counter.add(3)]), [2, 5]);
    await assert.rejects(async () => desk.fail(), { name: 'TypeError', message: 'that is no name' });
    // What the page gives is called.
    assert.equal(await desk.apply((value) => value + 1, 41), 42);
    quorate.close();
    return {};
  },

  async proves() {
    const quorate = await session();
    const desk = quorate.redeem(reference);
    await desk.greet('somebody else');
    const call = desk.greet('Grace');
    const proof = quorate.proof(call);
    assert.equal(await call, 'hello Grace');
    const { text, block, signers, threshold, members, file: bytes } = await proof;
    writeFileSync(file, bytes);
    assert.equal(text, `${signers.length} of ${members} signed, block ${block}`);
    quorate.close();
    return { block, signers, threshold, members };
  },

  async remembers() {
    const quorate = await session(urls, { store: fileStore() });
    const counter = await quorate.redeem(reference).makeCounter();
    assert.equal(await counter.add(5), 5);
    await quorate.remember('counter', counter);
    quorate.close();
    return {};
  },

  async recalls() {
    const quorate = await session(urls, { store: fileStore() });
    const { stub } = await quorate.recall('counter');
    assert.equal(await stub.add(1), 6);
    assert.equal(await quorate.recall('nothing'), undefined);
    quorate.close();
    return {};
  },

  async lies() {
    const [first, second] = urls;
    const proxy = await liar(first, jello);
    const left = [];
    const quorate = await session([proxy.url, second], { onHostLeft: (host, why) => left.push([host, why]) });
    // The liar's answer is not believed; the other host has the true one.
    assert.equal(await quorate.redeem(reference).greet('Ada'), 'hello Ada');
    assert.equal(left.length, 1);
    assert.ok(left[0][0].startsWith(proxy.url), left);
    quorate.close();
    proxy.close();
    return { why: left[0][1] };
  },

  async silence() {
    const [first, second] = urls;
    // One host says nothing at all; the next one falls silent once it was asked something.
    const mute = await liar(first, () => undefined);
    const [words, left] = [[], []];
    const swallows = await liar(first, (message) => (words.push(message) === 1 ? message : undefined));
    const hosts = [mute.url, swallows.url, second];
    const quorate = await session(hosts, { onHostLeft: (host, why) => left.push(why) });
    assert.equal(await quorate.redeem(reference).greet('Ada'), 'hello Ada');
    assert.deepEqual(left, ['the host said nothing', 'the host does not answer']);
    quorate.close();
    [mute, swallows].forEach((proxy) => proxy.close());
    return {};
  },

  async bad() {
    await assert.rejects(session(['http://127.0.0.1:1']), /ws:/);
    await assert.rejects(session([]), /name a host/);
    const quorate = await session();
    await assert.rejects(async () => quorate.redeem('vat://nothing'), /not a sturdyref/);
    const unknown = `vat://${'0'.repeat(64)}/root`;
    await assert.rejects(async () => quorate.redeem(unknown), /none of the hosts carries/);
    // Such a reference does not disturb the others.
    assert.equal(await quorate.redeem(reference).greet('Ada'), 'hello Ada');
    await assert.rejects(async () => quorate.proof(7), /promise of a call/);
    quorate.close();
    return {};
  },
};

console.log(JSON.stringify(await steps[step]()));
process.exit(0);
