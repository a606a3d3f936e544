/** Submitting: one order is one job. And the calls that only ask. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VideoClientError, createVideoClient } from '../../service/frontend/video-client.js';
import { retryAfterMs } from '../../service/frontend/client/errors.js';
import * as say from './server.mjs';
import { JOB, QUICK, ear, job, serve, until } from './server.mjs';

const image = new File(['pixels'], 'start.png', { type: 'image/png' });
const order = { templateSlug: 'roller', startImage: image, variables: { BRAND: 'ACME', A: 'b' } };

const receipt = (response) =>
  say.answered(response, 202, { jobId: JOB, status: 'pending', credits: 40 });
const hangsUp = (response) => response.destroy();
const never = () => {};

function clientFor(server, options = {}) {
  return createVideoClient({ baseUrl: server.url, log: null, timing: QUICK, ...options });
}

const keys = (server) => server.of('video').map((call) => call.headers['idempotency-key']);

test('what is sent is what the service reads', async (t) => {
  const server = await serve(t, { video: receipt });
  const heard = ear();
  const client = clientFor(server, { log: heard.log, token: 'me', baseUrl: `${server.url}/` });
  const found = await client.submit({ ...order, provider: 'kling2_5', duration: 5 });
  assert.deepEqual(found, { jobId: JOB, status: 'pending', credits: 40 });
  const [{ method, path, headers, body }] = server.calls;
  assert.deepEqual([method, path], ['POST', '/api/templates/video']);
  assert.equal(headers.authorization, 'Bearer me');
  assert.match(headers['content-type'], /^multipart\/form-data/);
  assert.match(body, /name="startImage"; filename="start.png"\r\nContent-Type: image\/png/);
  const [data] = /\{.*\}/.exec(body);
  assert.deepEqual(JSON.parse(data), {
    templateSlug: 'roller',
    variables: { BRAND: 'ACME', A: 'b' },
    provider: 'kling2_5',
    duration: 5,
  });
  assert.deepEqual(heard.lines, [`[VIDEO] Job started: ${JOB}`]);
});

test('a double click is one order, another order is another', async (t) => {
  const server = await serve(t, { video: receipt });
  const client = clientFor(server);
  const first = client.submit(order);
  const turned = { ...order, variables: { A: 'b', BRAND: 'ACME' } };
  assert.equal(client.submit(turned), first);
  const copy = new File([image], image.name, { type: image.type });
  const others = [
    { ...order, duration: 10 },
    { ...order, provider: 'sora2' },
    { ...order, templateSlug: 'other' },
    { ...order, variables: { ...order.variables, BRAND: 'OTHER' } },
    { ...order, startImage: copy },
  ].map((other) => client.submit(other));
  await Promise.all([first, ...others]);
  assert.equal(server.count('video'), 6);
  assert.equal(new Set(keys(server)).size, 6);
  await client.submit(order); // the first is through: this one is meant
  assert.equal(new Set(keys(server)).size, 7);
});

for (const [name, failure] of Object.entries({
  'a cut connection': hangsUp,
  'a proxy without a service': (response) => say.foreign(response, 502),
  'a service that is away': (response) => say.problem(response, 503, 'temporarily_unavailable'),
  'a proxy that gave up': (response) => say.foreign(response, 504),
  'an answer that is none': (response) => {
    response.writeHead(202, { 'content-length': '100' });
    response.write('{"jobId":', () => response.destroy());
  },
  'no answer in time': never,
})) {
  test(`after ${name} the same order goes out under the same key`, async (t) => {
    const server = await serve(t, { video: [failure, failure, receipt] });
    const submitMs = failure === never ? 400 : QUICK.submitMs;
    const client = clientFor(server, { timing: { ...QUICK, submitMs } });
    assert.equal((await client.submit(order)).jobId, JOB);
    assert.equal(server.count('video'), 3);
    assert.equal(new Set(keys(server)).size, 1);
  });
}

test('four tries at most; pressed again it is still the same order', async (t) => {
  const server = await serve(t, { video: [hangsUp, hangsUp, hangsUp, hangsUp, receipt] });
  const client = clientFor(server);
  await assert.rejects(client.submit(order), { code: 'network', status: 0 });
  assert.equal(server.count('video'), 4);
  await client.submit(order);
  assert.equal(new Set(keys(server)).size, 1);
  await client.submit(order);
  assert.equal(new Set(keys(server)).size, 2);
});

for (const [status, code] of [
  [402, 'insufficient_credits'],
  [409, 'idempotency_key_reused'],
  [410, 'provider_retired'],
  [429, 'too_many_in_flight'],
  [500, 'internal_error'],
])
  test(`${status} is not sent again`, async (t) => {
    const server = await serve(t, { video: (response) => say.problem(response, status, code) });
    await assert.rejects(clientFor(server).submit(order), { code, status, message: `${code}!` });
    assert.equal(server.count('video'), 1);
  });

test('what is wrong with an order is told by field', async (t) => {
  const errors = [{ field: 'variables.BRAND', message: 'is missing' }];
  const body = { code: 'invalid_request', detail: 'Look again.', errors };
  const server = await serve(t, { video: (response) => say.answered(response, 422, body) });
  const error = await clientFor(server).submit(order).catch((it) => it);
  assert.ok(error instanceof VideoClientError && error instanceof Error);
  assert.deepEqual([error.errors, error.status, error.message], [errors, 422, 'Look again.']);
});

test('an order goes on while somebody waits for it', async (t) => {
  let answer;
  const server = await serve(t, { video: (response) => (answer = () => receipt(response)) });
  const client = clientFor(server);
  const gone = new AbortController();
  const left = client.submit(order, { signal: gone.signal });
  const stayed = client.submit(order, { signal: new AbortController().signal });
  await until(() => answer);
  gone.abort();
  await assert.rejects(left, { name: 'AbortError' });
  answer();
  assert.equal((await stayed).jobId, JOB);
});

test('an order that nobody waits for any more is called back, and keeps its key', async (t) => {
  let cut = 0;
  const slow = (response) => response.on('close', () => (cut += 1));
  const server = await serve(t, { video: [slow, receipt] });
  const client = clientFor(server);
  const stop = new AbortController();
  const waits = [1, 2].map(() => client.submit(order, { signal: stop.signal }));
  await until(() => server.count('video') === 1);
  stop.abort();
  for (const each of waits) await assert.rejects(each, { name: 'AbortError' });
  await until(() => cut === 1);
  assert.equal((await client.submit(order)).jobId, JOB); // it may have arrived: the same key
  assert.equal(new Set(keys(server)).size, 1);
  const { signal } = stop;
  await assert.rejects(client.submit(order, { signal }), { name: 'AbortError' });
});

test("the caller's own key is used as it is", async (t) => {
  const server = await serve(t, { video: receipt });
  const client = clientFor(server);
  await Promise.all([
    client.submit(order, { idempotencyKey: 'mine' }),
    client.submit(order, { idempotencyKey: 'mine' }),
    client.submit(order, { idempotencyKey: 'other' }),
  ]);
  assert.deepEqual(keys(server).sort(), ['mine', 'other']);
});

test('the calls that ask one thing', async (t) => {
  const echo = (response, { method, path, body }) =>
    say.answered(response, 200, { asked: `${method} ${path} ${body}`.trim() });
  const gone = (response) => response.writeHead(204).end();
  const routes = { status: echo, cancel: echo, library: echo, credits: echo, templates: echo };
  const server = await serve(t, { ...routes, session: echo, 'a%2Fb': gone });
  const client = clientFor(server);
  const asked = async (answer) => (await answer).asked;
  const here = '/api/templates/video';
  assert.equal(await asked(client.status('a&b')), `GET ${here}/status?jobId=a%26b`);
  const cancelled = await asked(client.cancel(JOB, { ifFinished: 'keep' }));
  assert.equal(cancelled, `POST ${here}/cancel {"jobId":"job1","ifFinished":"keep"}`);
  assert.equal(await asked(client.cancel(JOB)), `POST ${here}/cancel {"jobId":"job1"}`);
  assert.equal(await asked(client.library()), 'GET /api/library');
  const page = await asked(client.library({ cursor: 'c', limit: 2 }));
  assert.equal(page, 'GET /api/library?cursor=c&limit=2');
  assert.equal(await asked(client.library({ cursor: null })), 'GET /api/library');
  assert.equal(await asked(client.credits()), 'GET /api/credits');
  assert.equal(await asked(client.templates()), 'GET /api/templates');
  assert.equal(await asked(client.session()), 'GET /api/session');
  assert.equal(await client.remove('a/b'), null);
  assert.equal(server.calls.at(-1).method, 'DELETE');
});

test('a question without an answer in time is an error, told as one', async (t) => {
  const half = (response) => response.writeHead(200, { 'content-length': '9' }).write('{');
  const server = await serve(t, { status: () => {}, credits: half });
  const client = clientFor(server, { timing: { answerMs: 30 } });
  await assert.rejects(client.status(JOB), { code: 'timeout', status: 0 });
  await assert.rejects(client.credits(), { code: 'timeout', status: 0 });
});

test('cancelling too late says so', async (t) => {
  const server = await serve(t, {
    cancel: [
      (response) => say.answered(response, 202, job(3, { ifFinished: 'keep' })),
      (response) => say.problem(response, 409, 'too_late'),
    ],
  });
  const client = clientFor(server);
  assert.equal((await client.cancel(JOB)).ifFinished, 'keep');
  await assert.rejects(client.cancel(JOB), { code: 'too_late', status: 409 });
});

test('Retry-After is seconds or a date, and never for ever', () => {
  assert.equal(retryAfterMs('2'), 2000);
  assert.equal(retryAfterMs('999999'), 300_000);
  assert.equal(retryAfterMs('soon'), null);
  assert.equal(retryAfterMs(null), null);
  assert.equal(retryAfterMs(new Date(Date.now() - 5000).toUTCString()), 0);
  const soon = retryAfterMs(new Date(Date.now() + 10_000).toUTCString());
  assert.ok(soon !== null && soon > 5_000 && soon <= 10_000);
});
