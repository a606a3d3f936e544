/**
 * Watching jobs: one connection per job, however many parts of a page watch it.
 *
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 * @typedef {import('../video-client.js').WatchHandlers} WatchHandlers
 * @typedef {import('./api.js').Api} Api
 * @typedef {import('./lines.js').Lines} Lines
 *
 * @typedef {object} Watch one job that is followed
 * @property {Promise<JobStatus>} end
 * @property {AbortController} stop
 * @property {Set<(status: JobStatus) => void>} listeners
 * @property {JobStatus | null} latest
 */
import { call } from './callbacks.js';
import { VideoClientError, failureOf } from './errors.js';
import { follow } from './follow.js';
import { abandonable } from './waiting.js';

export class Watches {
  #api;
  #lines;
  #timing;
  /** @type {Map<string, Watch>} */
  #watches = new Map();

  /** @param {Api} api @param {Lines} lines @param {import('../video-client.js').Timing} timing */
  constructor(api, lines, timing) {
    this.#api = api;
    this.#lines = lines;
    this.#timing = timing;
  }

  /**
   * @param {string} jobId
   * @param {WatchHandlers} [handlers]
   * @returns {Promise<JobStatus>}
   */
  watch(jobId, handlers = {}) {
    const end = this.#watchOnce(jobId, handlers);
    // Who takes the error from onError, or asked for the end, need not catch it here as well.
    if (handlers.onError || handlers.signal) end.catch(() => {});
    return end;
  }

  /** @param {string} jobId @param {WatchHandlers} handlers */
  async #watchOnce(jobId, { onProgress, onComplete, onError, signal }) {
    signal?.throwIfAborted();
    const watch = this.#watches.get(jobId) ?? this.#start(jobId);
    const hear = newsOnly(onProgress);
    watch.listeners.add(hear);
    if (watch.latest) hear(watch.latest);
    let job;
    try {
      job = await abandonable(watch.end, signal);
      if (job.status === 'failed') throw failureOf(job);
    } catch (error) {
      if (error instanceof VideoClientError && !signal?.aborted) call(onError, error);
      throw error;
    } finally {
      this.#leave(jobId, watch, hear);
    }
    await onComplete?.(job);
    return job;
  }

  /** @param {string} jobId @returns {Watch} */
  #start(jobId) {
    const stop = new AbortController();
    /** @type {Watch} */
    const watch = { end: new Promise(() => {}), stop, listeners: new Set(), latest: null };
    const report = (/** @type {JobStatus} */ status) => {
      watch.latest = status;
      this.#lines.status(status);
      for (const listener of watch.listeners) listener(status);
    };
    const options = { signal: stop.signal, timing: this.#timing };
    watch.end = follow(this.#api, jobId, report, options).finally(() => this.#forget(jobId, watch));
    watch.end.catch(() => {}); // whoever watches hears of it; maybe nobody does any more
    this.#watches.set(jobId, watch);
    return watch;
  }

  /** @param {string} jobId @param {Watch} watch @param {(status: JobStatus) => void} listener */
  #leave(jobId, watch, listener) {
    watch.listeners.delete(listener);
    if (watch.listeners.size > 0) return;
    this.#forget(jobId, watch);
    watch.stop.abort();
  }

  /** @param {string} jobId @param {Watch} watch */
  #forget(jobId, watch) {
    if (this.#watches.get(jobId) === watch) this.#watches.delete(jobId);
  }
}

/** Leaves out what says nothing new. @param {WatchHandlers['onProgress']} onProgress */
function newsOnly(onProgress) {
  let version = -1;
  let progress = -1;
  return (/** @type {JobStatus} */ status) => {
    if (status.version === version && status.progress === progress) return;
    ({ version, progress } = status);
    call(onProgress, status);
  };
}
