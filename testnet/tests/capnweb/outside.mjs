// Times calls from outside, one after the other: `node outside.mjs WHAT URL ARGUMENT COUNT`. Prints their milliseconds as JSON.
//
//   session  ws://…/capnweb  REFERENCE  calls of one open session of Cap'n Web
//   http     http://…        REFERENCE  calls over plain HTTP, on one connection
//   etcd     http://…        KEY        puts of etcd, by its JSON interface, on one connection

import { newWebSocketRpcSession } from 'capnweb';
import { WebSocket } from 'ws';

// Node.js has it from version 22 on.
globalThis.WebSocket ??= WebSocket;

// Before anything is timed: connections, caches, compilation.
const WARM_UP = 20;

const [what, url, argument, count] = process.argv.slice(2);

const post = async (place, headers, body) => {
  const answer = await fetch(place, { method: 'POST', headers, body });
  const json = await answer.json();
  if (!answer.ok) throw Error(JSON.stringify(json));
};

const makers = {
  session: () => {
    const counter = newWebSocketRpcSession(new WebSocket(url)).redeem(argument);
    return () => counter.increment();
  },
  http: () => {
    const [, vat, object, secret] = /^vat:\/\/(.+)\/(.+)#(.+)$/.exec(argument);
    const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
    return () => post(`${url}/v1/vats/${vat}/objects/${object}/increment`, headers, '[]');
  },
  etcd: () => {
    let value = 0;
    return () => post(`${url}/v3/kv/put`, {}, JSON.stringify({ key: btoa(argument), value: btoa(`${++value}`) }));
  },
};

const once = makers[what]();
for (let i = 0; i < WARM_UP; i++) await once();
const times = [];
for (let i = 0; i < Number(count); i++) {
  const started = performance.now();
  await once();
  times.push(performance.now() - started);
}
console.log(JSON.stringify(times));
process.exit(0);
