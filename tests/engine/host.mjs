// SurrealDB's own engine (RocksDB, in this process) behind the protocol of its server, for the
// tests of machines that have no server binary: WebSocket, CBOR, sign-in, a session per socket.
// Not here: HTTP, live queries, the server's background tasks.
//   node host.mjs --path rocksdb:///dir [--port 0] [--user root] [--pass root | --passhash ARGON2]
// Ends with SIGTERM, or when its standard input ends: a test process that dies takes it along.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';
import { list, map, negative, readMap, readText, text } from './cbor.mjs';
import { nativeEngine } from './native.mjs';

const HOST = '127.0.0.1';
const MAX_MESSAGE_BYTES = 128 << 20; // the server's own limit
const DRAIN_MS = 5_000;
const SIGNED_OUT = new Set(['ping', 'version', 'use', 'signin', 'signup', 'authenticate']);

const { values: options } = parseArgs({ options: {
  path: { type: 'string', default: 'mem://' }, port: { type: 'string', default: '0' },
  user: { type: 'string', default: 'root' }, pass: { type: 'string', default: 'root' },
  passhash: { type: 'string' },
} });

/** Its answer: the result's bytes, or `{error}`, which `isError` tells apart. */
const ask = async (fields) => Buffer.from(await engine.execute(map(Object.entries(fields))));
const isError = (answer) => answer.subarray(0, ERROR.length).equals(ERROR);
const ERROR = Buffer.concat([Buffer.from([0xa1]), text('error')]);
const failure = (code, message) => map([['code', negative(code)], ['message', text(message)]]);

async function defineRoot() {
  const statement = `DEFINE USER IF NOT EXISTS \`${options.user}\` ON ROOT`
    + (options.passhash ? ` PASSHASH '${options.passhash}'`
      : ` PASSWORD ${JSON.stringify(options.pass)}`) + ' ROLES OWNER';
  const answer = await ask({ id: text('0'), method: text('query'),
    params: list(text(statement), map([])) });
  if (isError(answer) || answer.includes('cERR')) throw new Error(answer.toString('latin1'));
}

/** One socket is one session: it ends with the socket, and answers nobody who has not signed in. */
class Session {
  #id = text(randomUUID());
  #signedIn = false;
  #attached = ask({ id: text('0'), method: text('attach'), session: this.#id });

  async answer(request) {
    const fields = readMap(request);
    const method = readText(fields.get('method'));
    const reply = (key, value) => map([['id', fields.get('id')], [key, value]]);
    if (!this.#signedIn && !SIGNED_OUT.has(method)) {
      return reply('error', failure(-32002, 'Anonymous access not allowed'));
    }
    await this.#attached;
    const answer = Buffer.from(await engine.execute(map([...fields, ['session', this.#id]])));
    if (isError(answer)) return reply('error', answer.subarray(ERROR.length));
    if (['signin', 'signup', 'authenticate'].includes(method)) this.#signedIn = true;
    if (method === 'invalidate') this.#signedIn = false;
    return reply('result', answer);
  }

  async end() {
    await this.#attached;
    await ask({ id: text('0'), method: text('detach'), session: this.#id });
  }
}

const running = new Set(); // answers being worked out and sessions being ended
const track = (promise) => {
  running.add(promise);
  promise.finally(() => running.delete(promise));
};

function serve(socket) {
  const session = new Session();
  socket.on('message', (data) => track(session.answer(data)
    .catch((error) => map([['error', failure(-32700, error.message)]]))
    .then((answer) => socket.send(answer, () => {}))));
  socket.on('close', () => track(session.end().catch(() => {})));
  socket.on('error', () => {}); // a peer that vanished; `close` follows
}

async function stop() {
  process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  setTimeout(() => process.exit(1), DRAIN_MS).unref();
  server.close();
  while (running.size) await Promise.all(running);
  for (const socket of server.clients) socket.close(1001, 'shutting down');
  while (running.size) await Promise.all(running);
  await engine.free();
  process.exit(0);
}

let engine;
try {
  engine = await nativeEngine().connect(options.path);
  await defineRoot();
} catch (error) {
  console.error(`cannot open ${options.path}: ${error.message ?? error}`);
  process.exit(1);
}
const server = new WebSocketServer({ host: HOST, port: Number(options.port), path: '/rpc',
  perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES,
  handleProtocols: (offered) => offered.has('cbor') && 'cbor' });
server.on('connection', serve);
server.on('error', (error) => { console.error(error.message); process.exit(1); });
server.on('listening', () => console.log(`ready on ws://${HOST}:${server.address().port}`));
process.on('SIGTERM', stop).on('SIGINT', stop);
process.stdin.on('end', stop).resume();
