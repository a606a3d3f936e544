/**
 * Waiting that ends early when there is a reason to: the caller gives up, or the page wakes up.
 */

/** @typedef {'online' | 'visible'} Wake */

/**
 * Calls back when the network returns, or when a page that was hidden, frozen or in the
 * back/forward cache is looked at again. Does nothing outside a browser.
 *
 * @param {(wake: Wake) => void} callback
 * @returns {() => void} stops it
 */
export function onWake(callback) {
  const stop = new AbortController();
  const { signal } = stop;
  const online = () => callback('online');
  const visible = () => {
    if (globalThis.document?.visibilityState !== 'hidden') callback('visible');
  };
  globalThis.addEventListener?.('online', online, { signal });
  globalThis.addEventListener?.('pageshow', visible, { signal });
  globalThis.document?.addEventListener('visibilitychange', visible, { signal });
  globalThis.document?.addEventListener('resume', visible, { signal });
  return () => stop.abort();
}

/**
 * Resolves after so long, or when the page wakes up. Rejects as soon as the signal aborts.
 *
 * @param {number} ms
 * @param {AbortSignal | null} [signal]
 * @param {{wakes?: boolean}} [options] false where somebody asked for the whole wait
 * @returns {Promise<void>}
 */
export function pause(ms, signal = null, { wakes = true } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const end = () => {
      clearTimeout(timer);
      stopListening();
      signal?.removeEventListener('abort', abort);
    };
    const done = () => {
      end();
      resolve();
    };
    const abort = () => {
      end();
      reject(signal?.reason);
    };
    const timer = setTimeout(done, ms);
    const stopListening = wakes ? onWake(done) : () => {};
    signal?.addEventListener('abort', abort);
  });
}

/** Between half and the whole of it, so that many clients do not come back in step. */
export function jittered(/** @type {number} */ ms) {
  return ms * (0.5 + Math.random() / 2);
}

/** Waits that double from one failure to the next. */
export class Backoff {
  #failures = 0;
  #firstMs;
  #maxMs;

  /** @param {number} firstMs @param {number} maxMs */
  constructor(firstMs, maxMs) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
  }

  /** @param {number | null} [askedMs] what the server asked for, which is the least then */
  next(askedMs = null) {
    const ms = jittered(Math.min(this.#firstMs * 2 ** this.#failures, this.#maxMs));
    this.#failures = Math.min(this.#failures + 1, 20);
    return Math.max(ms, askedMs ?? 0);
  }

  reset() {
    this.#failures = 0;
  }
}

/**
 * One request with an end: it is aborted when its caller aborts, or when nothing was heard in time.
 */
export class Attempt {
  #controller = new AbortController();
  #outer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #heardAt = Date.now(); // of all clocks the one that goes on while a laptop sleeps
  #onAbort = () => this.#controller.abort(this.#outer?.reason);

  /** @param {AbortSignal | null | undefined} outer @param {number} limitMs until the first sign */
  constructor(outer, limitMs) {
    this.#outer = outer;
    if (outer?.aborted) this.#onAbort();
    outer?.addEventListener('abort', this.#onAbort);
    this.#arm(limitMs);
  }

  get signal() {
    return this.#controller.signal;
  }

  /** Something came: from now on silence is counted anew. @param {number} limitMs */
  heard(limitMs) {
    this.#heardAt = Date.now();
    this.#arm(limitMs);
  }

  get silentMs() {
    return Date.now() - this.#heardAt;
  }

  /** @param {unknown} reason */
  abort(reason) {
    this.#controller.abort(reason);
  }

  /** To be called in the end, whatever that is. */
  close() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onAbort);
  }

  /** @param {number} limitMs */
  #arm(limitMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new Silence()), limitMs);
  }
}

/** Nothing was heard in time. */
export class Silence extends Error {
  name = 'Silence';
}

/** The page woke up, and the connection is not worth trusting. */
export class Woken extends Error {
  name = 'Woken';
}

/**
 * The promise, for a caller who may go: it rejects for them as soon as their signal aborts.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<T>}
 */
export async function abandonable(promise, signal = null) {
  if (!signal) return promise;
  signal.throwIfAborted();
  /** @type {() => void} */
  let stop = () => {};
  const aborted = new Promise((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, aborted]));
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
