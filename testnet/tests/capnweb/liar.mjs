// Stands between a client and a host, and changes what comes from the host, or keeps it back.

import { WebSocket, WebSocketServer } from 'ws';

/** A host's gateway at `ws://…` as a liar shows it: `change` gives another message, or nothing. */
export async function liar(url, change) {
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

/** The same message with each `hello ` another one. */
export const jello = (message) => {
  const changed = Buffer.from(message);
  for (let at = changed.indexOf('hello '); at >= 0; at = changed.indexOf('hello ', at)) changed.write('jello ', at);
  return changed;
};
