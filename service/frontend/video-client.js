/**
 * The browser's side of video generation: submit an order, follow its job, look after the library.
 * Plain ES modules without dependencies; see README.md.
 */
import { Api } from './client/api.js';
import { VideoClientError } from './client/errors.js';
import { Lines } from './client/lines.js';
import { Submissions } from './client/submissions.js';
import { TIMING } from './client/timing.js';
import { Watches } from './client/watches.js';

export { VideoClientError };

/** @type {typeof import('./video-client.js').createVideoClient} */
export function createVideoClient({
  baseUrl = '',
  token,
  fetch = browserFetch,
  log = console,
  timing = {},
} = {}) {
  const waits = { ...TIMING, ...timing };
  const api = new Api({ baseUrl, token, fetch });
  const lines = new Lines(log);
  const submissions = new Submissions(api, lines, waits);
  const watches = new Watches(api, lines, waits);

  /** @param {string} path @param {Record<string, unknown>} [query] */
  const get = (path, query = {}) => api.json(path + queryOf(query), {}, waits.answerMs);
  /** @param {string} path @param {import('./client/api.js').Call} call */
  const send = (path, call) => api.json(path, call, waits.answerMs);

  return {
    submit: (order, options) => submissions.submit(order, options),
    watch: (jobId, handlers) => watches.watch(jobId, handlers),
    status: (jobId) => get('/api/templates/video/status', { jobId }),
    cancel: (jobId, { ifFinished } = {}) =>
      send('/api/templates/video/cancel', jsonCall({ jobId, ifFinished })),
    library: ({ cursor, limit } = {}) => get('/api/library', { cursor, limit }),
    remove: (jobId) => send(`/api/library/${encodeURIComponent(jobId)}`, { method: 'DELETE' }),
    templates: () => get('/api/templates'),
    credits: () => get('/api/credits'),
    session: () => get('/api/session'),
  };
}

/** Looked up at each call, and called on nothing else: it refuses that. @type {typeof fetch} */
function browserFetch(input, init) {
  return globalThis.fetch(input, init);
}

/** @param {unknown} body */
function jsonCall(body) {
  const headers = { 'Content-Type': 'application/json' };
  return { method: 'POST', headers, body: JSON.stringify(body) };
}

/** @param {Record<string, unknown>} query its parts that are there */
function queryOf(query) {
  const there = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  if (!there.length) return '';
  return `?${new URLSearchParams(there.map(([name, value]) => [name, String(value)]))}`;
}
