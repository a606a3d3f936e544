/**
 * One watch per running job. Each may hold a connection, of which a browser gives six per site
 * over HTTP/1.1, so only some are held at a time; the others wait for their turn, and are looked
 * at together through the library meanwhile.
 */

import { isRunning, newestFirst } from './jobs.js';

const AT_A_TIME = 3; // half of a browser's connections: the rest is for everything else
const LOOK_EVERY_MS = 10_000;

/**
 * @param {{client, store, onNews, onEnd, onProblem, look}} parts `onEnd` is called once per watch
 *   that ended with its job, with the final status; `onProblem` with any other end.
 */
export function createWatches({ client, store, onNews, onEnd, onProblem, look }) {
  const held = new Map(); // job id -> AbortController
  const waiting = new Set();
  const ended = new Set();
  let looking = null;

  async function hold(jobId) {
    const control = new AbortController();
    held.set(jobId, control);
    waiting.delete(jobId);
    try {
      const final = await client.watch(jobId, { onProgress: onNews, signal: control.signal });
      ended.add(jobId);
      onEnd(final);
    } catch (error) {
      if (control.signal.aborted) return;
      if (error.job) {
        ended.add(jobId);
        onEnd(error.job);
      } else {
        onProblem(error, jobId);
      }
    } finally {
      if (held.get(jobId) === control) held.delete(jobId);
      fill();
    }
  }

  /** A job that is known to have ended is heard at once; the others as places become free. */
  function fill() {
    const { jobs, signedOut, opened } = store.get();
    if (signedOut) return;
    const inTurn = newestFirst(jobs).filter((job) => waiting.has(job.jobId));
    inTurn.sort((a, b) => (b.jobId === opened) - (a.jobId === opened));
    for (const job of inTurn) {
      if (held.size < AT_A_TIME || !isRunning(job)) hold(job.jobId);
    }
    lookWhileSomeWait();
  }

  function lookWhileSomeWait() {
    if (waiting.size > 0 && looking === null) looking = setInterval(look, LOOK_EVERY_MS);
    if (waiting.size === 0 && looking !== null) {
      clearInterval(looking);
      looking = null;
    }
  }

  return {
    /** Watch a job to its end. A repeat does nothing. */
    add(jobId) {
      if (!held.has(jobId) && !ended.has(jobId)) waiting.add(jobId);
      fill();
    },

    /** The job somebody is looking at goes first, in the place of the oldest if need be. */
    prefer(jobId) {
      if (!waiting.has(jobId)) return;
      const [oldest] = held.keys();
      if (held.size >= AT_A_TIME && oldest) {
        held.get(oldest).abort();
        held.delete(oldest);
        waiting.add(oldest);
      }
      fill();
    },

    /** Let go of all; they are taken up again by `add`. */
    stop() {
      for (const control of held.values()) control.abort();
      held.clear();
      waiting.clear();
      lookWhileSomeWait();
    },
  };
}
