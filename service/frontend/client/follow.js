/**
 * Follows one job to its end, whatever happens to the network meanwhile.
 *
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 * @typedef {import('../video-client.js').Timing} Timing
 * @typedef {import('./api.js').Api} Api
 * @typedef {import('./transports.js').Ear} Ear
 */
import { enter } from './connections.js';
import { NETWORK, SIGN_IN, VideoClientError } from './errors.js';
import { Ladder } from './ladder.js';
import { meaning, read, stream } from './transports.js';
import { Attempt, Backoff, Woken, jittered, onWake, pause } from './waiting.js';

// So many answers in a row that are not the service's own, which comes to minutes: a proxy's page
// in its place is no verdict about a job, but it is not waited out for ever either.
const FOREIGN_ANSWERS = 8;
// Refusals that mean "later".
const LATER = new Set([408, 425, 429]);

/**
 * Each status that is news goes to `report`; the final one is also the result. Rejects where the
 * service refuses (signed out, no such job), or with the signal's reason.
 *
 * @param {Api} api
 * @param {string} jobId
 * @param {(status: JobStatus) => void} report
 * @param {{signal: AbortSignal, timing: Timing}} options
 * @returns {Promise<JobStatus>}
 */
export async function follow(api, jobId, report, { signal, timing }) {
  const following = new Following(api, jobId, report, signal, timing);
  try {
    return await following.run();
  } finally {
    following.close();
  }
}

class Following {
  #api;
  #signal;
  #timing;
  #ladder;
  #backoff;
  #ear;
  /** @type {JobStatus | null} */
  #final = null;
  /** @type {Attempt | null} */
  #attempt = null;
  #heard = 0;
  #foreign = 0;
  #stopListening;

  /** @param {Api} api @param {string} jobId @param {(status: JobStatus) => void} report
   * @param {AbortSignal} signal @param {Timing} timing */
  constructor(api, jobId, report, signal, timing) {
    this.#api = api;
    this.#signal = signal;
    this.#timing = timing;
    this.#ladder = new Ladder(timing);
    this.#backoff = new Backoff(timing.backoffMs, timing.backoffMaxMs);
    this.#ear = this.#newEar(jobId, report);
    this.#stopListening = onWake((wake) => this.#woke(wake));
  }

  /** @returns {Promise<JobStatus>} */
  async run() {
    while (!this.#final) {
      this.#signal.throwIfAborted();
      await this.#listenOnce();
    }
    return this.#final;
  }

  close() {
    this.#stopListening();
  }

  async #listenOnce() {
    const way = this.#ladder.next();
    const leave = way === 'plain' ? null : await enter();
    if (!leave) return this.#plain();
    try {
      return await (way === 'stream' ? this.#stream() : this.#held());
    } finally {
      leave();
    }
  }

  async #stream() {
    const before = this.#heard;
    const ended = await this.#try(true, this.#timing.firstByteMs, (attempt) =>
      stream(this.#api, this.#ear, attempt, this.#timing),
    );
    if (this.#final) return;
    if (ended.error) await this.#streamFailed(ended.error, this.#heard > before);
    else if (ended.result?.alive) await this.#streamEnded(ended.result.retryMs);
    // It ended without a word: the service does so when there is no news, a proxy for no reason.
    else if (ended.result) this.#ladder.streamFailed(null);
  }

  /** @param {number | null} retryMs */
  async #streamEnded(retryMs) {
    this.#heardWell();
    await pause(jittered(retryMs ?? this.#timing.reconnectMs), this.#signal);
  }

  /** @param {VideoClientError} error @param {boolean} worked until then */
  async #streamFailed(error, worked) {
    if (worked && error.code === NETWORK) return this.#streamEnded(null);
    if (!this.#ladder.streamFailed(error)) await this.#backOff(error);
  }

  async #held() {
    const { waitMs, answerMs } = this.#timing;
    const startedAt = Date.now();
    const heldMs = this.#ear.version === null ? 0 : waitMs; // the first one is wanted at once
    const ended = await this.#try(false, heldMs + answerMs, (attempt) =>
      read(this.#api, this.#ear, attempt, heldMs),
    );
    if (ended.error) {
      this.#ladder.heldFailed();
      await this.#backOff(ended.error);
    } else if (heldMs && ended.result !== undefined) {
      this.#ladder.heldAnswered(ended.result, Date.now() - startedAt);
    }
  }

  async #plain() {
    const ended = await this.#try(false, this.#timing.answerMs, (attempt) =>
      read(this.#api, this.#ear, attempt),
    );
    if (ended.error) await this.#backOff(ended.error);
    else if (!this.#final) await pause(this.#timing.pollMs, this.#signal);
  }

  /**
   * One attempt: its result, or an error that is worth another attempt; neither if the page woke
   * up during it. Throws what ends the watch.
   *
   * @template T
   * @param {boolean} streaming
   * @param {number} limitMs until the first sign of life
   * @param {(attempt: Attempt) => Promise<T>} once
   * @returns {Promise<{result?: T, error?: VideoClientError}>}
   */
  async #try(streaming, limitMs, once) {
    const attempt = new Attempt(this.#signal, limitMs);
    this.#attempt = attempt;
    try {
      const result = await once(attempt);
      if (!streaming) this.#readWell();
      return { result };
    } catch (error) {
      this.#signal.throwIfAborted();
      if (attempt.signal.reason instanceof Woken) return {};
      return { error: this.#survivable(meaning(error, attempt), streaming) };
    } finally {
      this.#attempt = null;
      attempt.close();
    }
  }

  /**
   * The error, unless it ends the watch: then it is thrown.
   *
   * @param {unknown} error @param {boolean} streaming
   */
  #survivable(error, streaming) {
    if (!(error instanceof VideoClientError) || error.code === SIGN_IN) throw error;
    const { status } = error;
    // Whether there is such a job is for the read to say: a stream can be missing for itself.
    if (streaming || status === 0 || status >= 500 || LATER.has(status)) return error;
    this.#foreign += 1;
    if (error.fromService || this.#foreign >= FOREIGN_ANSWERS) throw error;
    return error;
  }

  /** @param {VideoClientError} error */
  async #backOff(error) {
    const { retryAfterMs } = error;
    const ms = this.#backoff.next(retryAfterMs);
    await pause(ms, this.#signal, { wakes: retryAfterMs === null });
  }

  #heardWell() {
    this.#ladder.streamWorked();
    this.#readWell();
  }

  #readWell() {
    this.#backoff.reset();
    this.#foreign = 0;
  }

  /** @param {import('./waiting.js').Wake} wake */
  #woke(wake) {
    if (wake === 'online') {
      this.#ladder.forget();
      this.#backoff.reset();
    }
    const silentMs = this.#attempt?.silentMs ?? 0;
    if (wake === 'online' || silentMs > this.#timing.doubtMs) this.#attempt?.abort(new Woken());
  }

  /** @param {string} jobId @param {(status: JobStatus) => void} report @returns {Ear} */
  #newEar(jobId, report) {
    return {
      jobId,
      version: null,
      tag: null,
      hear: (status) => {
        this.#heard += 1;
        const { version } = this.#ear;
        if (version !== null && status.version < version) return false; // overtaken by a newer one
        this.#ear.version = status.version;
        if (isFinal(status)) this.#final = status;
        report(status);
        return isFinal(status);
      },
    };
  }
}

/** @param {JobStatus} job */
function isFinal({ status }) {
  return status === 'completed' || status === 'failed';
}
