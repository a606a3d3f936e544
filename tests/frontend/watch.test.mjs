/** Watching a job over a network that does what networks do: its end is told exactly once. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createVideoClient } from '../../service/frontend/video-client.js';
import * as say from './server.mjs';
import { JOB, KEY, QUICK, completed, ear, job, serve, until } from './server.mjs';

const LINE = `[VIDEO] Generation complete: ${KEY}`;

function clientFor(server, heard, { timing = {}, ...options } = {}) {
  const waits = { ...QUICK, ...timing };
  return createVideoClient({ baseUrl: server.url, log: heard.log, timing: waits, ...options });
}

/** Watches to the end: everything about the end is told once. */
async function completes(server, options) {
  const heard = ear();
  const result = await clientFor(server, heard, options).watch(JOB, heard.handlers);
  assert.equal(result.key, KEY);
  assert.deepEqual(heard.complete, [KEY]);
  assert.deepEqual(heard.errors, []);
  assert.equal(heard.lines.filter((line) => line === LINE).length, 1);
  assert.equal(new Set(heard.lines).size, heard.lines.length, 'a line was said twice');
  return heard;
}

async function fails(server, options) {
  const heard = ear();
  const end = clientFor(server, heard, options).watch(JOB, heard.handlers);
  const error = await end.catch((it) => it);
  assert.deepEqual(heard.errors, [error.code]);
  assert.deepEqual(heard.complete, []);
  return { error, heard };
}

const open = (...parts) => (response) => say.streamed(response, ...parts);
const over = (...parts) => (response) => say.streamed(response, ...parts).end();
const gives = (status) => (response) => say.answered(response, 200, status);
const hangsUp = (response) => response.destroy();

/** Sends these, then lets the connection die. */
const dies = (...parts) => (response) => {
  say.streamed(response, ...parts);
  setImmediate(() => setImmediate(() => response.destroy()));
};

test('a stream alone: each change once, no read', async (t) => {
  const news = [job(1, { status: 'pending', progress: 0 }), job(2), ': still here\n\n', job(4)];
  const server = await serve(t, { events: over('retry: 1\n\n', ...news, completed(5)) });
  const heard = await completes(server);
  assert.deepEqual(heard.progress, [1, 2, 4, 5]);
  assert.deepEqual(heard.lines, [
    '[VIDEO] status=pending progress=0',
    '[VIDEO] status=processing progress=20',
    '[VIDEO] status=processing progress=40',
    LINE,
  ]);
  assert.equal(server.calls.length, 1);
});

test('final before anybody looks', async (t) => {
  const server = await serve(t, { events: open(completed()) });
  assert.deepEqual((await completes(server)).progress, [9]);
});

test('repeated and overtaken versions are no news', async (t) => {
  const server = await serve(t, {
    events: [over(job(3), job(3), job(2), job(1)), over(job(3), job(5), job(5)), open(completed())],
  });
  const heard = await completes(server);
  assert.deepEqual(heard.progress, [3, 5, 9]);
});

test('progress without a new version is news', async (t) => {
  const server = await serve(t, { events: over(job(3), job(3, { progress: 35 }), completed()) });
  assert.deepEqual((await completes(server)).progress, [3, 3, 9]);
});

test('a stream that dies again and again goes on where it was', async (t) => {
  const deaths = [1, 2, 3].map((version) => dies(job(version)));
  const server = await serve(t, { events: [...deaths, open(completed())] });
  await completes(server);
  const seen = server.of('events').map((call) => call.headers['last-event-id']);
  assert.deepEqual(seen, [undefined, '1', '2', '3']);
  assert.equal(server.count('status'), 0);
});

test('a stream that dies without a word is left for reads that are held', async (t) => {
  const server = await serve(t, { events: hangsUp, status: [gives(job(1)), gives(completed())] });
  await completes(server);
  assert.equal(server.count('events'), 2);
  assert.deepEqual(
    server.of('status').map((call) => call.url.searchParams.get('wait')),
    [null, '25'],
  );
});

const silent = {
  'never answers': () => {},
  'keeps every byte': (response) => open()(response).flushHeaders(),
  'passes one event and keeps the rest': open(job(1)),
};
const useless = {
  'answers 404': (response) => say.foreign(response, 404),
  'answers 502': (response) => say.foreign(response, 502),
  'answers a page': (response) => say.foreign(response, 200),
  'allows no more streams': (response) =>
    say.problem(response, 429, 'too_many_streams', { 'retry-after': '60' }),
  'has nothing to add': (response) => response.writeHead(204).end(),
  'ends at once': over('retry: 1\n\n'),
  'sends something else': open({ version: 1, status: 'completed', jobId: 'another' }),
  'sends nonsense': open('data: {\n\n'),
  'never ends an event': open(`data: ${'x'.repeat(1_100_000)}`),
};
const impatient = { firstByteMs: 80, silenceMs: 80 };
for (const [name, events] of Object.entries({ ...silent, ...useless })) {
  test(`a stream that ${name}: reads that are held see it through`, async (t) => {
    const status = [gives(job(1)), gives(job(2)), gives(completed())];
    const server = await serve(t, { events, status });
    await completes(server, { timing: name in silent ? impatient : {} });
    assert.equal(server.count('events'), 1);
    assert.ok(server.count('status') <= 3);
  });
}

test('where held reads fail too, plain ones see it through', async (t) => {
  const held = (response, { url }) => {
    if (url.searchParams.has('wait')) response.destroy();
    else say.answered(response, 200, server.count('status') < 6 ? job(1) : completed());
  };
  const server = await serve(t, { events: (response) => say.foreign(response, 502), status: held });
  await completes(server);
  const waits = server.of('status').filter(({ url }) => url.searchParams.has('wait'));
  assert.equal(waits.length, 2);
});

test('a read that is not held, though it should be, is no reason to hurry', async (t) => {
  const status = (response, { headers }) => {
    if (server.count('status') > 8) return say.answered(response, 200, completed());
    if (headers['if-none-match'] === '"1"') return say.answered(response, 304);
    return say.answered(response, 200, job(1), { etag: '"1"' });
  };
  const server = await serve(t, { events: hangsUp, status });
  await completes(server);
  const waits = server.of('status').map(({ url }) => url.searchParams.has('wait'));
  assert.deepEqual(waits, [false, true, true, true, false, false, false, false, false]);
});

test('the stream is tried again later, and used when it works', async (t) => {
  const events = [(response) => say.foreign(response, 502), open(completed())];
  const server = await serve(t, { events, status: gives(job(1)) });
  await completes(server, { timing: { streamAgainMs: 60, waitMs: 0 } });
  assert.equal(server.count('events'), 2);
});

test('a stream that only breathes is checked by a read', async (t) => {
  const events = (response) => {
    say.streamed(response, job(1));
    const timer = setInterval(() => response.write(': still here\n\n'), 10);
    response.on('close', () => clearInterval(timer));
  };
  const server = await serve(t, { events, status: [gives(job(1)), gives(completed())] });
  await completes(server, { timing: { quietMs: 40 } });
  assert.equal(server.count('events'), 1);
});

test('a restart: connections cut, then refused, then it goes on', async (t) => {
  const server = await serve(t, { events: open(job(1)) });
  const { port } = server.server.address();
  const heard = ear();
  const end = clientFor(server, heard).watch(JOB, heard.handlers);
  await until(() => heard.progress.length === 1);
  await server.close();
  await once(server.server, 'close');
  const next = await serve(t, { events: open(completed()), status: gives(completed()) }, port);
  assert.equal((await end).key, KEY);
  assert.deepEqual(heard.complete, [KEY]);
  assert.equal(heard.lines.filter((line) => line === LINE).length, 1);
  assert.ok(next.calls.length >= 1);
});

test('answers of the service that mean later are waited out', async (t) => {
  const later = [503, 500, 502, 504, 408, 425, 429].map(
    (code) => (response) => say.problem(response, code, 'later'),
  );
  const server = await serve(t, { events: hangsUp, status: [...later, gives(completed())] });
  await completes(server);
});

test("a proxy's pages in place of the service are no verdict", async (t) => {
  const pages = [404, 403, 200, 404].map((code) => (response) => say.foreign(response, code));
  const server = await serve(t, { events: hangsUp, status: [...pages, gives(completed())] });
  await completes(server);
});

test("a proxy's pages without an end are one", async (t) => {
  const never = (code) => (response) => say.foreign(response, code);
  const missing = await serve(t, { events: never(404), status: never(404) });
  assert.equal((await fails(missing)).error.code, 'not_found');
  assert.equal(missing.count('status'), 8);
  const other = await serve(t, { events: never(200), status: never(200) });
  assert.equal((await fails(other)).error.code, 'unexpected_answer');
});

test('no such job: told once, and nothing is asked again', async (t) => {
  const none = (response) => say.problem(response, 404, 'not_found');
  const server = await serve(t, { events: none, status: none });
  const { error } = await fails(server);
  assert.deepEqual([error.code, error.status, error.fromService], ['not_found', 404, true]);
  assert.equal(server.calls.length, 2);
});

test('signed out: told once and at once, on a stream and on a read', async (t) => {
  const signedOut = (response) => say.problem(response, 401, 'sign_in_required');
  const stream = await serve(t, { events: signedOut });
  assert.equal((await fails(stream, { token: 'old' })).error.code, 'sign_in_required');
  assert.equal(stream.calls.length, 1);
  assert.equal(stream.calls[0].headers.authorization, 'Bearer old');
  const foreign = (response) => say.foreign(response, 401);
  const read = await serve(t, { events: hangsUp, status: foreign });
  assert.equal((await fails(read)).error.code, 'sign_in_required');
  assert.equal(read.count('status'), 1);
});

test('a token that ended is asked for once more', async (t) => {
  const tokens = ['old', 'new', 'newer'];
  const token = async () => tokens.shift();
  const events = (response, { headers }) =>
    headers.authorization === 'Bearer new'
      ? say.streamed(response, completed())
      : say.problem(response, 401, 'sign_in_required');
  await completes(await serve(t, { events }), { token });
  assert.deepEqual(tokens, ['newer']);

  const never = await serve(t, { events: (response) => say.problem(response, 401, 'x') });
  assert.equal((await fails(never, { token: () => 'old' })).error.code, 'sign_in_required');
  assert.equal(never.calls.length, 2);
});

test('a token out of reach is a network failure; one that is refused is not', async (t) => {
  const server = await serve(t, { events: open(completed()) });
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 1) throw new TypeError('fetch failed');
    return 'new';
  };
  await completes(server, { token });
  const refused = () => Promise.reject(new Error('signed out'));
  assert.equal((await fails(server, { token: refused })).error.code, 'sign_in_required');
});

test('a failed job is told once, with its reason', async (t) => {
  const server = await serve(t, { events: open(job(1), say.failed('refused')) });
  const { error, heard } = await fails(server);
  assert.deepEqual([error.code, error.message, error.job.version], ['refused', 'No.', 9]);
  assert.deepEqual(heard.lines.at(-1), '[VIDEO] Generation failed: refused');
  assert.equal(server.calls.length, 1);
});

test('an aborted watch calls nothing and leaves the connection', async (t) => {
  let closed = 0;
  const events = (response) => {
    say.streamed(response, job(1));
    response.on('close', () => (closed += 1));
  };
  const server = await serve(t, { events });
  const heard = ear();
  const stop = new AbortController();
  const end = clientFor(server, heard).watch(JOB, { ...heard.handlers, signal: stop.signal });
  await until(() => heard.progress.length === 1);
  stop.abort();
  await assert.rejects(end, { name: 'AbortError' });
  await until(() => closed === 1);
  assert.deepEqual([heard.complete, heard.errors], [[], []]);
});

test('two watches of a job share one connection, and one may leave', async (t) => {
  let response;
  const server = await serve(t, { events: (it) => (response = say.streamed(it, job(1))) });
  const [first, second, third] = [ear(), ear(), ear()];
  const client = clientFor(server, first);
  const stop = new AbortController();
  const left = client.watch(JOB, { ...second.handlers, signal: stop.signal });
  const stayed = client.watch(JOB, first.handlers);
  await until(() => first.progress.length === 1 && second.progress.length === 1);
  const late = client.watch(JOB, third.handlers);
  stop.abort();
  await assert.rejects(left, { name: 'AbortError' });
  response.write(say.event(completed()));
  await Promise.all([stayed, late]);
  assert.deepEqual([first.complete, second.complete, third.complete], [[KEY], [], [KEY]]);
  assert.deepEqual(third.progress, [1, 9]);
  assert.deepEqual(first.lines, ['[VIDEO] status=processing progress=10', LINE]);
  assert.equal(server.calls.length, 1);
});

test('a watch after a watch says no line again', async (t) => {
  const server = await serve(t, { events: open(completed()) });
  const heard = ear();
  const client = clientFor(server, heard);
  await client.watch(JOB);
  await client.watch(JOB);
  assert.deepEqual(heard.lines, [LINE]);
});

test('the watch ends when the promise of onComplete does', async (t) => {
  const server = await serve(t, { events: open(completed()) });
  const client = clientFor(server, ear());
  let saved = false;
  const onComplete = async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    saved = true;
  };
  await client.watch(JOB, { onComplete });
  assert.ok(saved);
  const broken = { onComplete: () => Promise.reject(new Error('disk full')) };
  await assert.rejects(client.watch(JOB, broken), { message: 'disk full' });
});

test('an error in onProgress is reported and stops nothing', async (t) => {
  const server = await serve(t, { events: open(job(1), completed()) });
  const reported = t.mock.method(console, 'error', () => {});
  const onProgress = () => Promise.reject(new Error('mine'));
  assert.equal((await clientFor(server, ear()).watch(JOB, { onProgress })).key, KEY);
  assert.equal(reported.mock.callCount(), 2);
});

test('a wake-up ends a wait, and a connection that was silent for long', async (t) => {
  const page = wakeablePage(t);
  const events = [hangsUp, open(job(1)), open(job(2)), open(completed())];
  const server = await serve(t, { events });
  const heard = ear();
  const slow = { backoffMs: 60_000, backoffMaxMs: 60_000, silenceMs: 60_000, doubtMs: -1 };
  const end = clientFor(server, heard, { timing: slow }).watch(JOB, heard.handlers);
  await until(() => page.listening() === 2); // the watch, and its wait after the failure
  page.dispatchEvent(new Event('online'));
  await until(() => heard.progress.at(-1) === 1);
  page.dispatchEvent(new Event('online')); // another network: the old one's connection is dead
  await until(() => heard.progress.at(-1) === 2);
  page.dispatchEvent(new Event('pageshow')); // the page is back, its connection was silent
  await end;
  assert.deepEqual(heard.progress, [1, 2, 9]);
  assert.equal(page.listening(), 0);
});

test('Retry-After is waited out, and no wake-up shortens it', async (t) => {
  const page = wakeablePage(t);
  const busy = (response) => say.problem(response, 429, 'too_many', { 'retry-after': '1' });
  const server = await serve(t, { events: hangsUp, status: [busy, gives(completed())] });
  const heard = ear();
  const end = clientFor(server, heard).watch(JOB, heard.handlers);
  await until(() => server.count('status') === 1);
  const from = performance.now();
  const nudges = setInterval(() => page.dispatchEvent(new Event('pageshow')), 5);
  await end.finally(() => clearInterval(nudges));
  assert.ok(performance.now() - from > 900);
  assert.equal(server.count('status'), 2);
});

/** A page as far as waking up goes; tests/browser has real ones. */
function wakeablePage(t) {
  const page = new EventTarget();
  let listening = 0;
  globalThis.addEventListener = (type, listener, { signal }) => {
    page.addEventListener(type, listener, { signal });
    if (type !== 'online') return;
    listening += 1;
    signal.addEventListener('abort', () => (listening -= 1));
  };
  t.after(() => delete globalThis.addEventListener);
  return Object.assign(page, { listening: () => listening });
}
