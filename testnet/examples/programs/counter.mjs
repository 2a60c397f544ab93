// Calls a counter by the client of Cap'n Web that npm has: npm install capnweb ws, then
//
//   node counter.mjs ws://127.0.0.1:8080/capnweb "$(cat quorate-testnet/refs/counter.ref)"
import { newWebSocketRpcSession } from 'capnweb';

// Node.js has it from version 22 on.
globalThis.WebSocket ??= (await import('ws')).WebSocket;

const [gateway, reference] = process.argv.slice(2);
const api = newWebSocketRpcSession(gateway);
const counter = api.redeem(reference);

console.log('five more:', await counter.increment(5));
// Neither waits for the other.
const [more, now] = await Promise.all([counter.increment(2), counter.read()]);
console.log('two more:', more);
console.log('now:', now);
try {
  await counter.increment('five');
} catch (error) {
  console.log('refused:', `${error.name}: ${error.message}`);
}
process.exit(0);
