// A program that calls a vat by the client that checks for itself: `node verified.mjs STEP HOSTS REFERENCE FILE`. It says in JSON what the next step
// needs, and fails if anything is not as it should be.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { WebSocket } from 'ws';
import { connect } from '../../../node/web/js/index.mjs';
import { jello, liar } from './liar.mjs';

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
    assert.equal(text, `${signers.length} of ${members.length} signed, block ${block}`);
    assert.deepEqual(members.filter(({ signed }) => signed).map(({ name }) => name).sort(), [...signers].sort());
    assert.ok(members.every(({ key }) => /^[0-9a-f]{64}$/.test(key)), members);
    quorate.close();
    return { block, signers, threshold, members: members.length };
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
    const quorate = await session([proxy.url, second], { onHostLeft: (...told) => left.push(told) });
    // The liar's answer is not believed; the other host has the true one.
    assert.equal(await quorate.redeem(reference).greet('Ada'), 'hello Ada');
    assert.equal(left.length, 1);
    assert.ok(left[0][0].startsWith(proxy.url), left);
    assert.equal(left[0][2], true, 'it is said to have lied');
    assert.ok(quorate.host.startsWith(second));
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
    const quorate = await session(hosts, { onHostLeft: (host, why, hasLied) => left.push([why, hasLied]) });
    assert.equal(await quorate.redeem(reference).greet('Ada'), 'hello Ada');
    assert.deepEqual(left, [['the host said nothing', false], ['the host does not answer', false]]);
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

// What waits for ever has failed: longer than a slow machine takes for anything here.
setTimeout(() => {
  console.error(`${step} did not end`);
  process.exit(1);
}, 170_000).unref();
console.log(JSON.stringify(await steps[step]()));
process.exit(0);
