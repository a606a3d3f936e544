/**
 * What the hook shows, without React: one generation at a time on show, others in the background.
 *
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 * @typedef {import('../video-client.js').Order} Order
 * @typedef {import('../video-client.js').VideoClient} VideoClient
 * @typedef {import('../use-async-video-generation.js').GenerationState} GenerationState
 * @typedef {import('../use-async-video-generation.js').GenerationCallbacks} GenerationCallbacks
 *
 * @typedef {object} Run one generation, from its call to its promise's end
 * @property {string | undefined} name which order it is; none for a job that is taken up again
 * @property {GenerationCallbacks} callbacks the newest ones given for it
 * @property {Promise<JobStatus>} promise
 * @property {(result: JobStatus) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {Promise<string | null> | null} submitted the job's id, once there is a job
 * @property {AbortController | null} watch while it is watched
 * @property {GenerationState} state
 */
import { call } from './callbacks.js';
import { NOT_FOUND, VideoClientError } from './errors.js';
import { nameOf } from './orders.js';

/** @type {Readonly<GenerationState>} */
const IDLE = Object.freeze({
  jobId: null,
  status: 'idle',
  progress: 0,
  etaSeconds: null,
  error: null,
  result: null,
  isGenerating: false,
});

export class Generation {
  /** The client that the next call uses. @type {VideoClient} */
  client;
  #memory;
  #state = IDLE;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {Set<Run>} */
  #runs = new Set();
  /** @type {Run | null} */
  #shown = null;
  #mounted = false;

  /** @param {VideoClient} client @param {import('./memory.js').Memory} memory */
  constructor(client, memory) {
    this.client = client;
    this.#memory = memory;
  }

  getState = () => this.#state;

  /** @param {() => void} listener */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Watches while there is somebody to tell. What runs is taken up where it was left. */
  mount = () => {
    this.#mounted = true;
    for (const run of this.#runs) this.#watch(run);
    return () => {
      this.#mounted = false;
      for (const run of this.#runs) leave(run);
    };
  };

  /** @type {import('../use-async-video-generation.js').Generate} */
  generate = (order, callbacks = {}) => {
    const name = nameOf(order);
    const same = this.#find((run) => run.name === name);
    if (same) return this.#join(same, callbacks);
    const run = this.#begin(callbacks, { name, status: 'submitting' });
    this.#submit(run, order);
    return run.promise;
  };

  /** @type {import('../use-async-video-generation.js').Resume} */
  resume = async (jobId, callbacks = {}) => {
    const wanted = jobId ?? this.#memory.read();
    if (!wanted) return null;
    const same = this.#find((run) => run.state.jobId === wanted);
    if (same) return this.#join(same, callbacks);
    const run = this.#begin(callbacks, { jobId: wanted, status: 'pending' });
    this.#watch(run);
    return run.promise;
  };

  /** @type {import('../use-async-video-generation.js').Cancel} */
  cancel = async (options) => {
    const run = this.#shown;
    // What is on its way cannot be called back; the job that it becomes can be.
    const jobId = run && (run.state.jobId ?? (await run.submitted));
    return jobId ? this.client.cancel(jobId, options) : null;
  };

  reset = () => {
    this.#shown = null;
    this.#memory.forget();
    this.#set(IDLE);
  };

  /** @param {(run: Run) => boolean} wanted */
  #find(wanted) {
    return [...this.#runs].find(wanted);
  }

  /**
   * @param {GenerationCallbacks} callbacks
   * @param {{name?: string, jobId?: string | null, status: 'submitting' | 'pending'}} start
   * @returns {Run}
   */
  #begin(callbacks, { name, jobId = null, status }) {
    const state = { ...IDLE, jobId, status, isGenerating: true };
    /** @type {Run} */
    const run = { name, callbacks, state, watch: null, submitted: null, ...deferred() };
    if (callbacks.onError) run.promise.catch(() => {}); // who takes it there need not catch it
    this.#runs.add(run);
    this.#show(run);
    return run;
  }

  /** It runs already: it is on show again, and tells who asked last.
   * @param {Run} run @param {GenerationCallbacks} callbacks */
  #join(run, callbacks) {
    run.callbacks = { ...run.callbacks, ...callbacks };
    this.#show(run);
    return run.promise;
  }

  /** @param {Run} run @param {Order} order */
  async #submit(run, order) {
    const receipt = this.client.submit(order);
    run.submitted = receipt.then(
      ({ jobId }) => jobId,
      () => null,
    );
    try {
      const { jobId, status } = await receipt;
      // Even if nobody looks any more: after a refresh, this is what runs.
      if (this.#shown === run) this.#memory.write(jobId);
      this.#update(run, { jobId, status });
      this.#watch(run);
    } catch (error) {
      this.#failed(run, error, 'failed');
    }
  }

  /** @param {Run} run */
  async #watch(run) {
    const { jobId } = run.state;
    if (!this.#mounted || !jobId || run.watch) return;
    const watch = new AbortController();
    run.watch = watch;
    const onProgress = (/** @type {JobStatus} */ job) => this.#progressed(run, job);
    try {
      const result = await this.client.watch(jobId, { onProgress, signal: watch.signal });
      await this.#completed(run, result);
    } catch (error) {
      if (watch.signal.aborted) return; // nobody looks any more; mount() takes it up again
      this.#failed(run, error, statusAfter(error, run));
    }
  }

  /** @param {Run} run @param {JobStatus} job */
  #progressed(run, job) {
    const { status, progress, etaSeconds } = job;
    // The end is told by the watch, with all that belongs to it.
    if (status === 'pending' || status === 'processing') {
      this.#update(run, { status, progress, etaSeconds });
    }
    return run.callbacks.onProgress?.(job);
  }

  /** @param {Run} run @param {JobStatus} result */
  async #completed(run, result) {
    const { onComplete } = run.callbacks;
    this.#runs.delete(run);
    this.#update(run, {
      status: 'completed',
      progress: 100,
      etaSeconds: null,
      result,
      isGenerating: false,
    });
    try {
      await onComplete?.(result);
      run.resolve(result);
    } catch (error) {
      run.reject(error); // the caller's own: the video is there
    }
    this.#memory.forget(result.jobId);
  }

  /** @param {Run} run @param {unknown} cause @param {GenerationState['status']} status */
  #failed(run, cause, status) {
    const error = /** @type {VideoClientError} */ (cause);
    this.#runs.delete(run);
    // Signed out, say: the job goes on, and can be taken up once that is mended.
    const { jobId } = run.state;
    if (jobId && (error.job || error.code === NOT_FOUND)) this.#memory.forget(jobId);
    this.#update(run, { status, error, etaSeconds: null, isGenerating: false });
    call(run.callbacks.onError, error);
    run.reject(error);
  }

  /** @param {Run} run @param {Partial<GenerationState>} changes */
  #update(run, changes) {
    run.state = { ...run.state, ...changes };
    if (this.#shown === run) this.#set(run.state);
  }

  /** @param {Run} run */
  #show(run) {
    this.#shown = run;
    if (run.state.jobId) this.#memory.write(run.state.jobId);
    this.#set(run.state);
  }

  /** @param {GenerationState} state */
  #set(state) {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

/** @param {Run} run */
function leave(run) {
  run.watch?.abort();
  run.watch = null;
}

/** @param {unknown} error @param {Run} run @returns {GenerationState['status']} */
function statusAfter(error, run) {
  // Without a job's end in it, it says that the job cannot be watched, not how the job is.
  if (!(error instanceof VideoClientError && error.job)) return run.state.status;
  return error.code === 'cancelled' ? 'cancelled' : 'failed';
}

/** @returns {Pick<Run, 'promise' | 'resolve' | 'reject'>} */
function deferred() {
  /** @type {any} */
  const ends = {};
  const promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  return { promise, ...ends };
}
