// Times calls from outside, of so many clients at once: `node outside.mjs WHAT URL ARGUMENT COUNT [CLIENTS]`. Each client makes COUNT calls,
// one after the other, with a text of 100 bytes. Prints the milliseconds of all calls, and of the whole, as JSON: {calls: [...], whole: ...}.
//
//   session  ws://…/capnweb  REFERENCE  calls of one open session of Cap'n Web each
//   http     http://…        REFERENCE  calls over plain HTTP
//   etcd     http://…        KEY        puts of etcd, by its JSON interface, each client a key of its own

import { Agent, request } from 'node:http';
import { newWebSocketRpcSession } from 'capnweb';
import { WebSocket } from 'ws';

// That of `ws`, which sends headers.
globalThis.WebSocket = WebSocket;

// Before anything is timed: connections, caches, compilation.
const WARM_UP = 20;
const TEXT = 'x'.repeat(100);

const [what, url, argument, count, clients = '1'] = process.argv.slice(2);

// A connection for each client, that stays open. (`fetch` takes twice as long, and more with many clients.)
const poster = () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return (place, headers, body) =>
    new Promise((resolve, reject) => {
      const asked = request(place, { method: 'POST', agent, headers: { ...headers, 'content-length': body.length } });
      asked.on('error', reject).on('response', response => {
        let text = '';
        response.setEncoding('utf8').on('data', piece => (text += piece));
        response.on('error', reject).on('end', () => (response.statusCode === 200 ? resolve() : reject(Error(text))));
      });
      asked.end(body);
    });
};

// Each client comes from an address of its own, as a proxy on this machine would say: a gateway holds each address to its pace.
const from = number => ({ 'x-forwarded-for': `198.18.${number >> 8}.${number & 255}` });

const makers = {
  session: number => {
    const socket = new WebSocket(url, { headers: from(number) });
    const counter = newWebSocketRpcSession(socket).redeem(argument);
    return () => counter.take(TEXT);
  },
  http: number => {
    const post = poster();
    const [, vat, object, secret] = /^vat:\/\/(.+)\/(.+)#(.+)$/.exec(argument);
    const headers = { ...from(number), authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
    const body = JSON.stringify([TEXT]);
    return () => post(`${url}/v1/vats/${vat}/objects/${object}/take`, headers, body);
  },
  etcd: number => {
    const post = poster();
    const body = JSON.stringify({ key: btoa(`${argument}-${number}`), value: btoa(TEXT) });
    return () => post(`${url}/v3/kv/put`, { 'content-type': 'application/json' }, body);
  },
};

const calls = Array.from({ length: Number(clients) }, (_, number) => makers[what](number));
await Promise.all(
  calls.map(async once => {
    for (let i = 0; i < WARM_UP; i++) await once();
  }),
);
const times = [];
const began = performance.now();
await Promise.all(
  calls.map(async once => {
    for (let i = 0; i < Number(count); i++) {
      const started = performance.now();
      await once();
      times.push(performance.now() - started);
    }
  }),
);
// Sessions and connections stay open: the process ends when all is written.
process.stdout.write(JSON.stringify({ calls: times, whole: performance.now() - began }), () => process.exit(0));
