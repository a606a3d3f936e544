/** A real HTTP server that answers as a test says, and counts what it was asked. */
import { once } from 'node:events';
import http from 'node:http';

export const JOB = 'job1';
export const KEY = 'users/u1/library/job1.mp4';

/**
 * Waits between attempts are short. Those that end an attempt are long, however slow the machine
 * is; a test of one of them sets it.
 */
export const QUICK = {
  firstByteMs: 15_000,
  silenceMs: 15_000,
  quietMs: 60_000,
  doubtMs: 15_000,
  waitMs: 25_000,
  answerMs: 15_000,
  submitMs: 15_000,
  pollMs: 10,
  streamAgainMs: 60_000,
  streamAgainMaxMs: 60_000,
  reconnectMs: 10,
  backoffMs: 10,
  backoffMaxMs: 20,
};

export const job = (version, more = {}) => ({
  jobId: JOB,
  status: 'processing',
  progress: version * 10,
  etaSeconds: 30,
  url: null,
  key: null,
  credits: null,
  error: null,
  version,
  ...more,
});
export const completed = (version = 9) =>
  job(version, { status: 'completed', progress: 100, key: KEY, url: 'https://cdn/v', credits: 40 });
export const failed = (code = 'refused') =>
  job(9, { status: 'failed', progress: 0, error: { code, message: 'No.' } });

export function event(status) {
  return `id: ${status.version}\ndata: ${JSON.stringify(status)}\n\n`;
}

/** A stream of these parts; a status is an event. It stays open unless `end` is called. */
export function streamed(response, ...parts) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const part of parts) response.write(typeof part === 'string' ? part : event(part));
  return response;
}

export function answered(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

export function problem(response, status, code, headers = {}) {
  const type = { 'content-type': 'application/problem+json' };
  answered(response, status, { status, code, detail: `${code}!` }, { ...type, ...headers });
}

export const foreign = (response, status) => {
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end('<h1>a proxy</h1>');
};

/**
 * Routes by the last part of the path (`events`, `status`, `video`, …): a function is called with
 * the number of the call, a list has a function per call, whose last one goes on answering.
 */
export async function serve(t, routes, port = 0) {
  const calls = [];
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://server');
    const route = url.pathname.split('/').pop();
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('latin1');
    const { method, headers } = request;
    calls.push({ method, route, path: url.pathname + url.search, url, headers, body });
    const number = calls.filter((call) => call.route === route).length;
    const answer = pick(routes[route], number);
    if (answer) answer(response, calls.at(-1), number);
    else foreign(response, 404);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    server.close();
    server.closeAllConnections();
  };
  t.after(close);
  const count = (route) => calls.filter((call) => call.route === route).length;
  const of = (route) => calls.filter((call) => call.route === route);
  return { url: `http://127.0.0.1:${server.address().port}`, server, calls, count, of, close };
}

function pick(answers, number) {
  return Array.isArray(answers) ? answers[Math.min(number, answers.length) - 1] : answers;
}

/** Notes what a watch tells. */
export function ear() {
  const heard = { progress: [], complete: [], errors: [], lines: [] };
  return Object.assign(heard, {
    handlers: {
      onProgress: (status) => heard.progress.push(status.version),
      onComplete: (result) => heard.complete.push(result.key),
      onError: (error) => heard.errors.push(error.code),
    },
    log: { info: (line) => heard.lines.push(line) },
  });
}

/** Resolves once the condition holds; the test's own timeout bounds it. */
export async function until(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}
