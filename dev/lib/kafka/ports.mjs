import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

export const HOST = '127.0.0.1';

// Below the range from which systems take the local ports of outgoing connections: while a node is
// down, no connection of somebody else can slip onto its port.
const LOWEST = 20_000;
const BEYOND = 32_000;

async function listen(port) {
  const server = createServer();
  server.listen(port, HOST);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if (error.code === 'EADDRINUSE' || error.code === 'EACCES') return undefined;
    throw error;
  }
}

/** `count` different ports that are free right now. */
export async function freePorts(count) {
  const held = new Map();
  try {
    while (held.size < count) {
      const port = randomInt(LOWEST, BEYOND);
      if (held.has(port)) continue;
      const server = await listen(port);
      if (server) held.set(port, server);
    }
    return [...held.keys()];
  } finally {
    await Promise.all(
      [...held.values()].map((server) => new Promise((done) => server.close(done))),
    );
  }
}
