/**
 * Submitting: one order is one job, however often its button is pressed and its request is sent.
 *
 * @typedef {import('../video-client.js').Order} Order
 * @typedef {import('../video-client.js').Receipt} Receipt
 * @typedef {import('../video-client.js').SubmitOptions} SubmitOptions
 * @typedef {import('./api.js').Api} Api
 *
 * @typedef {object} Submission one order on its way
 * @property {string} key
 * @property {Promise<Receipt>} receipt
 * @property {AbortController} stop
 * @property {number} waiting how many calls wait for it
 */
import { VideoClientError } from './errors.js';
import { nameOf } from './orders.js';
import { Backoff, abandonable, pause } from './waiting.js';

const TRIES = 4;
// The answers after which nobody knows whether there is a job. The same key finds out.
const UNCERTAIN = new Set([0, 500, 502, 503, 504]);
// The service answered for itself that something broke: the person decides about another try.
const NOT_AGAIN = 500;
// Orders whose outcome is unknown are remembered, so that pressing again cannot make two jobs.
const REMEMBERED_MAX = 50;

export class Submissions {
  #api;
  #lines;
  #timing;
  /** @type {Map<string, Submission>} */
  #onTheirWay = new Map();
  /** The keys of orders that ended uncertain. @type {Map<string, string>} */
  #uncertain = new Map();

  /** @param {Api} api @param {import('./lines.js').Lines} lines
   * @param {import('../video-client.js').Timing} timing */
  constructor(api, lines, timing) {
    this.#api = api;
    this.#lines = lines;
    this.#timing = timing;
  }

  /** @param {Order} order @param {SubmitOptions} [options] @returns {Promise<Receipt>} */
  submit(order, { idempotencyKey, signal } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const name = `${nameOf(order)} ${idempotencyKey ?? ''}`;
    const submission = this.#onTheirWay.get(name) ?? this.#start(name, order, idempotencyKey);
    if (!signal) {
      submission.waiting = Infinity; // somebody waits for it to the end
      return submission.receipt;
    }
    submission.waiting += 1;
    return abandonable(submission.receipt, signal).finally(() => {
      submission.waiting -= 1;
      if (submission.waiting === 0) this.#abandon(name, submission);
    });
  }

  /** @param {string} name @param {Order} order @param {string} [idempotencyKey] */
  #start(name, order, idempotencyKey) {
    const stop = new AbortController();
    const key = idempotencyKey ?? this.#uncertain.get(name) ?? newKey();
    /** @type {Submission} */
    const submission = { key, stop, waiting: 0, receipt: this.#send(order, key, stop.signal) };
    submission.receipt.then(
      ({ jobId }) => {
        this.#lines.started(jobId);
        this.#settled(name, submission, false);
      },
      (error) => this.#settled(name, submission, isUncertain(error)),
    );
    this.#onTheirWay.set(name, submission);
    return submission;
  }

  /** Nobody waits any more; whether it arrived is unknown. @param {string} name
   * @param {Submission} submission */
  #abandon(name, submission) {
    if (this.#onTheirWay.get(name) !== submission) return; // it is settled
    this.#remember(name, submission.key);
    this.#onTheirWay.delete(name);
    submission.stop.abort();
  }

  /** @param {Order} order @param {string} key @param {AbortSignal} signal */
  async #send(order, key, signal) {
    const backoff = new Backoff(this.#timing.backoffMs, this.#timing.backoffMaxMs);
    for (let left = TRIES - 1; ; left -= 1) {
      try {
        return await this.#sendOnce(order, key, signal);
      } catch (error) {
        if (!left || !isUncertain(error) || error.status === NOT_AGAIN) throw error;
        const { retryAfterMs } = error;
        await pause(backoff.next(retryAfterMs), signal, { wakes: retryAfterMs === null });
      }
    }
  }

  /** @param {Order} order @param {string} key @param {AbortSignal} signal */
  #sendOnce(order, key, signal) {
    const headers = { 'Idempotency-Key': key };
    const call = { method: 'POST', headers, body: formOf(order), signal };
    return this.#api.json('/api/templates/video', call, this.#timing.submitMs);
  }

  /** @param {string} name @param {Submission} submission @param {boolean} uncertain */
  #settled(name, submission, uncertain) {
    if (this.#onTheirWay.get(name) !== submission) return; // it was abandoned
    this.#onTheirWay.delete(name);
    if (uncertain) this.#remember(name, submission.key);
    else this.#uncertain.delete(name);
  }

  /** @param {string} name @param {string} key */
  #remember(name, key) {
    this.#uncertain.set(name, key);
    const [oldest] = this.#uncertain.keys();
    if (oldest !== undefined && this.#uncertain.size > REMEMBERED_MAX) {
      this.#uncertain.delete(oldest);
    }
  }
}

/** @param {Order} order */
function formOf({ startImage, ...data }) {
  const form = new FormData();
  const name = 'name' in startImage ? String(startImage.name) : 'start-image';
  form.append('startImage', startImage, name);
  form.append('data', JSON.stringify(data));
  return form;
}

/** @param {unknown} error @returns {error is VideoClientError} */
function isUncertain(error) {
  return error instanceof VideoClientError && UNCERTAIN.has(error.status);
}

/** A UUID; randomUUID exists on https and localhost only. */
function newKey() {
  if (globalThis.crypto.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
