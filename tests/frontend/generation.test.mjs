/** What the hook shows, without React: tests/browser has the hook itself in both of its Reacts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Generation } from '../../service/frontend/client/generation.js';
import { Memory } from '../../service/frontend/client/memory.js';
import { createVideoClient } from '../../service/frontend/video-client.js';
import * as say from './server.mjs';
import { JOB, KEY, QUICK, completed, job, serve, until } from './server.mjs';

const image = new Blob(['pixels'], { type: 'image/png' });
const order = { templateSlug: 'roller', startImage: image, variables: { BRAND: 'ACME' } };
const other = { ...order, variables: { BRAND: 'OTHER' } };

function storage(start = {}) {
  const kept = new Map(Object.entries(start));
  return {
    kept,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
}

/** A service whose jobs are numbered, and end when the test says so. */
async function stage(t, { kept = {}, submit = accepted, signedIn = () => true } = {}) {
  const streams = new Map();
  const events = (response, { url }, number) => {
    if (!signedIn(number)) return say.problem(response, 401, 'sign_in_required');
    const jobId = url.searchParams.get('jobId');
    return streams.set(jobId, say.streamed(response, job(1, { jobId })));
  };
  const cancel = (response, { body }) => say.answered(response, 202, { asked: JSON.parse(body) });
  const server = await serve(t, { video: submit, events, cancel });
  const store = storage(kept);
  const client = createVideoClient({ baseUrl: server.url, log: null, timing: QUICK });
  const generation = new Generation(client, new Memory(store));
  t.after(() => generation.mount()()); // what still runs is watched no longer
  const seen = [];
  generation.subscribe(() => seen.push(generation.getState().status));
  const tell = async (jobId, status) => {
    await until(() => streams.has(jobId));
    streams.get(jobId).write(say.event({ ...status, jobId }));
  };
  return { server, generation, store, seen, tell, streams };
}

function accepted(response, _, number) {
  say.answered(response, 202, { jobId: `job${number}`, status: 'pending', credits: 40 });
}

const idle = (generation) => assert.equal(generation.getState().status, 'idle');

test('from the order to the end, told once', async (t) => {
  const { generation, seen, tell, store, server } = await stage(t);
  generation.mount();
  idle(generation);
  const told = [];
  const onComplete = async (result) => {
    await Promise.resolve();
    told.push(result.key);
  };
  const onProgress = ({ progress }) => told.push(progress);
  const end = generation.generate(order, { onComplete, onProgress });
  assert.equal(generation.getState().isGenerating, true);
  await until(() => generation.getState().status === 'processing');
  assert.deepEqual([...store.kept], [['fal-video:job', JOB]]);
  await tell(JOB, completed());
  assert.equal((await end).key, KEY);
  assert.deepEqual(told, [10, 100, KEY]);
  assert.deepEqual([...new Set(seen)], ['submitting', 'pending', 'processing', 'completed']);
  const { isGenerating, progress, result, jobId, error } = generation.getState();
  assert.deepEqual([isGenerating, progress, jobId, error], [false, 100, JOB, null]);
  assert.equal(result.key, KEY);
  assert.equal(store.kept.size, 0);
  assert.equal(server.count('video'), 1);
});

test('the same order while it runs is the same generation, and tells who asked last', async (t) => {
  const { generation, tell, server } = await stage(t);
  generation.mount();
  const told = [];
  const asked = (who) => generation.generate({ ...order }, { onComplete: () => told.push(who) });
  const first = asked('first');
  assert.equal(asked('second'), first);
  await until(() => generation.getState().status === 'processing');
  assert.equal(asked('third'), first);
  await tell(JOB, completed());
  await first;
  assert.deepEqual(told, ['third']);
  assert.equal(server.count('video'), 1);
});

test('another order is shown instead, and the first still ends for who asked for it', async (t) => {
  const { generation, tell, store } = await stage(t);
  generation.mount();
  const told = [];
  const onComplete = ({ jobId }) => told.push(jobId);
  const first = generation.generate(order, { onComplete });
  await until(() => generation.getState().status === 'processing');
  const second = generation.generate(other, { onComplete });
  await until(() => generation.getState().jobId === 'job2');
  await tell('job1', completed());
  await first;
  assert.equal(generation.getState().jobId, 'job2');
  assert.notEqual(generation.getState().status, 'completed');
  assert.equal(store.kept.get('fal-video:job'), 'job2');
  await tell('job2', completed());
  await second;
  assert.deepEqual(told, ['job1', 'job2']);
  assert.equal(generation.getState().status, 'completed');
});

test('what is kept for a refresh is the one on show, whichever is accepted last', async (t) => {
  const waiting = [];
  const submit = (response, _, number) => waiting.push(() => accepted(response, _, number));
  const { generation, store, streams } = await stage(t, { submit });
  generation.mount();
  void generation.generate(order);
  await until(() => waiting.length === 1);
  void generation.generate(other);
  await until(() => waiting.length === 2);
  waiting[1]();
  await until(() => generation.getState().jobId === 'job2');
  waiting[0]();
  await until(() => streams.has('job1')); // it is watched, though it is not shown
  assert.equal(store.kept.get('fal-video:job'), 'job2');
});

test('who leaves while it runs is told nothing; who comes back is told once', async (t) => {
  const { generation, tell, seen, streams, server } = await stage(t);
  const leave = generation.mount();
  const told = [];
  const end = generation.generate(order, { onComplete: () => told.push('complete') });
  await until(() => generation.getState().status === 'processing');
  const before = seen.length;
  leave();
  await until(() => streams.get(JOB).destroyed || streams.get(JOB).closed);
  streams.clear();
  assert.deepEqual([seen.length, told], [before, []]);
  generation.mount()();
  generation.mount(); // as StrictMode does it
  await tell(JOB, completed());
  await end;
  assert.deepEqual(told, ['complete']);
  assert.equal(server.count('video'), 1);
});

test('an order that is accepted after everybody left is kept for later', async (t) => {
  const { generation, store, server } = await stage(t);
  const leave = generation.mount();
  void generation.generate(order);
  leave();
  await until(() => store.kept.size === 1);
  assert.equal(store.kept.get('fal-video:job'), JOB);
  assert.equal(server.count('events'), 0);
});

test('after a refresh it goes on with what ran', async (t) => {
  const { generation, tell, store } = await stage(t, { kept: { 'fal-video:job': 'job7' } });
  generation.mount();
  const told = [];
  const end = generation.resume(undefined, { onComplete: ({ jobId }) => told.push(jobId) });
  assert.equal(generation.getState().jobId, 'job7');
  await tell('job7', completed());
  assert.equal((await end).jobId, 'job7');
  assert.deepEqual([told, store.kept.size], [['job7'], 0]);
  assert.equal(await generation.resume(), null);
});

test('a refused order fails, told once, and another try is another order', async (t) => {
  const submit = [(response) => say.problem(response, 402, 'insufficient_credits'), accepted];
  const { generation, tell } = await stage(t, { submit });
  generation.mount();
  const told = [];
  const onError = ({ code }) => told.push(code);
  await assert.rejects(generation.generate(order, { onError }), { code: 'insufficient_credits' });
  const { status, error, isGenerating } = generation.getState();
  assert.deepEqual([status, error.code, isGenerating], ['failed', 'insufficient_credits', false]);
  assert.deepEqual(told, ['insufficient_credits']);
  const end = generation.generate(order);
  assert.equal(generation.getState().error, null);
  await tell('job2', completed());
  await end;
});

for (const [code, status] of [
  ['refused', 'failed'],
  ['cancelled', 'cancelled'],
])
  test(`a job that ends as ${code} is shown as ${status}`, async (t) => {
    const { generation, tell, store } = await stage(t);
    generation.mount();
    const end = generation.generate(order, { onError: () => {} });
    await tell(JOB, say.failed(code));
    await assert.rejects(end, { code });
    assert.equal(generation.getState().status, status);
    assert.equal(store.kept.size, 0);
  });

test('signed out meanwhile: the job is not called failed, and is taken up again', async (t) => {
  const { generation, tell, store, streams } = await stage(t, { signedIn: (number) => number > 1 });
  generation.mount();
  const end = generation.generate(order, { onError: () => {} });
  await assert.rejects(end, { code: 'sign_in_required' });
  const { status, error, isGenerating } = generation.getState();
  assert.deepEqual([status, error.code, isGenerating], ['pending', 'sign_in_required', false]);
  assert.equal(store.kept.get('fal-video:job'), JOB);
  assert.equal(streams.size, 0);
  const again = generation.resume();
  await tell(JOB, completed());
  assert.equal((await again).key, KEY);
});

test('cancel asks for the job on show, even for one that is still on its way', async (t) => {
  const { generation } = await stage(t);
  generation.mount();
  assert.equal(await generation.cancel(), null);
  void generation.generate(order);
  const { asked } = await generation.cancel({ ifFinished: 'discard' });
  assert.deepEqual(asked, { jobId: JOB, ifFinished: 'discard' });
});

test('reset shows nothing, and what runs goes on', async (t) => {
  const { generation, tell, store } = await stage(t);
  generation.mount();
  const end = generation.generate(order);
  await until(() => generation.getState().status === 'processing');
  generation.reset();
  idle(generation);
  assert.equal(store.kept.size, 0);
  await tell(JOB, completed());
  assert.equal((await end).key, KEY);
  idle(generation);
});

test("an error in onComplete is the caller's, and the video is there", async (t) => {
  const { generation, tell } = await stage(t);
  generation.mount();
  const told = [];
  const onComplete = () => Promise.reject(new Error('disk full'));
  const end = generation.generate(order, { onComplete, onError: () => told.push('error') });
  await tell(JOB, completed());
  await assert.rejects(end, { message: 'disk full' });
  assert.deepEqual([generation.getState().status, told], ['completed', []]);
});

test('without a storage, or with one that is broken, nothing else is lost', async (t) => {
  const broken = { getItem: boom, setItem: boom, removeItem: boom };
  for (const memory of [new Memory(null), new Memory(broken), new Memory()]) {
    memory.write('job1');
    assert.equal(memory.read(), null);
    memory.forget();
  }
  function boom() {
    throw new DOMException('denied', 'SecurityError');
  }
});
