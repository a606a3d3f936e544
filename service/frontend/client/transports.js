/**
 * The three ways to hear of a job. Each runs once: until its stream or its answer ends, handing
 * every status on as it comes, and throws where it did not work.
 *
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 * @typedef {import('../video-client.js').Timing} Timing
 * @typedef {import('./waiting.js').Attempt} Attempt
 * @typedef {import('./api.js').Api} Api
 *
 * @typedef {object} Ear where what is heard goes to
 * @property {string} jobId
 * @property {number | null} version the newest one heard
 * @property {string | null} tag the entity tag of what a read last gave
 * @property {(status: JobStatus) => boolean} hear true once it is final
 *
 * @typedef {object} Ended how a stream ended that did not break
 * @property {boolean} alive whether it worked: it brought something, or at least it lasted
 * @property {number | null} retryMs what the service asks to wait before the next
 */
import { parsed, timedOut } from './api.js';
import { NETWORK, UNEXPECTED, VideoClientError, refusal } from './errors.js';
import { EventParser } from './events.js';
import { Silence } from './waiting.js';

const HERE = '/api/templates/video';

/**
 * Server-Sent Events over fetch, which can carry an Authorization header where EventSource cannot.
 *
 * @param {Api} api @param {Ear} ear @param {Attempt} attempt @param {Timing} timing
 * @returns {Promise<Ended>}
 */
export async function stream(api, ear, attempt, timing) {
  const response = await api.send(`${HERE}/events?jobId=${encodeURIComponent(ear.jobId)}`, {
    headers: {
      Accept: 'text/event-stream',
      ...(ear.version === null ? {} : { 'Last-Event-ID': String(ear.version) }),
    },
    signal: attempt.signal,
  });
  if (!response.ok) throw await refusal(response);
  if (!response.body || !response.headers.get('content-type')?.includes('text/event-stream')) {
    await response.body?.cancel();
    throw unexpected('The service does not stream.', response.status);
  }
  return readEvents(response.body, api, ear, attempt, timing);
}

/** @param {ReadableStream<Uint8Array>} body @param {Api} api @param {Ear} ear
 * @param {Attempt} attempt @param {Timing} timing @returns {Promise<Ended>} */
async function readEvents(body, api, ear, attempt, timing) {
  const parser = new EventParser();
  const reader = body.getReader();
  const startedAt = Date.now();
  let newsAt = startedAt;
  let events = 0;
  try {
    for (;;) {
      const { done, value } = await readFrom(reader, attempt);
      const alive = events > 0 || Date.now() - startedAt > timing.doubtMs;
      if (done) return { alive, retryMs: parser.retryMs };
      attempt.heard(timing.silenceMs);
      for (const event of eventsIn(parser, value)) {
        events += 1;
        newsAt = Date.now();
        if (ear.hear(statusIn(event.data, ear))) return { alive: true, retryMs: null };
      }
      if (Date.now() - newsAt > timing.quietMs) {
        newsAt = Date.now();
        if (await read(api, ear, attempt)) return { alive: true, retryMs: 0 };
      }
    }
  } finally {
    // Frees the connection at once, whatever the reason; a dead one has nothing to say to it.
    reader.cancel().catch(() => {});
  }
}

/** @param {EventParser} parser @param {Uint8Array} bytes */
function eventsIn(parser, bytes) {
  try {
    return parser.feed(bytes).filter((event) => event.type === 'message');
  } catch (cause) {
    throw unexpected('An event is not what the service sends.', 200, cause);
  }
}

/** @param {ReadableStreamDefaultReader<Uint8Array>} reader @param {Attempt} attempt */
async function readFrom(reader, attempt) {
  try {
    return await reader.read();
  } catch (cause) {
    if (attempt.signal.aborted) throw attempt.signal.reason;
    throw new VideoClientError(NETWORK, 'The connection broke.', { cause });
  }
}

/**
 * One status read, which the service may hold open until there is something new.
 *
 * @param {Api} api @param {Ear} ear @param {Attempt} attempt @param {number} [waitMs]
 * @returns {Promise<boolean>} whether a newer version was heard
 */
export async function read(api, ear, attempt, waitMs = 0) {
  const query = new URLSearchParams({ jobId: ear.jobId });
  if (waitMs) query.set('wait', String(Math.round(waitMs / 1000)));
  const response = await api.send(`${HERE}/status?${query}`, {
    headers: ear.tag ? { 'If-None-Match': ear.tag } : {},
    signal: attempt.signal,
  });
  if (response.status === 304) return false;
  if (!response.ok) throw await refusal(response);
  const status = checked(await bodyOf(response, attempt), ear);
  const before = ear.version;
  ear.hear(status);
  // The tag of an answer that was older than what we know would only keep us waiting for it.
  ear.tag = status.version === ear.version ? response.headers.get('etag') : null;
  return before === null || status.version > before;
}

/** @param {Response} response @param {Attempt} attempt */
async function bodyOf(response, attempt) {
  try {
    return await parsed(response);
  } catch (error) {
    if (attempt.signal.aborted) throw attempt.signal.reason;
    throw error;
  }
}

/** @param {string} data @param {Ear} ear @returns {JobStatus} */
function statusIn(data, ear) {
  try {
    return checked(JSON.parse(data), ear);
  } catch (cause) {
    if (cause instanceof VideoClientError) throw cause;
    throw unexpected('An event is not what the service sends.', 200, cause);
  }
}

/** @param {any} status @param {Ear} ear @returns {JobStatus} */
function checked(status, ear) {
  const fits =
    status?.jobId === ear.jobId &&
    typeof status.status === 'string' &&
    Number.isInteger(status.version);
  if (!fits) throw unexpected('The answer is not the status of this job.', 200);
  return status;
}

/** @param {string} words @param {number} status @param {unknown} [cause] */
function unexpected(words, status, cause) {
  return new VideoClientError(UNEXPECTED, words, { status, cause });
}

/** What an attempt that threw means. @param {unknown} error @param {Attempt} attempt */
export function meaning(error, attempt) {
  return attempt.signal.reason instanceof Silence ? timedOut(error) : error;
}
