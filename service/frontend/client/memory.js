/**
 * Which job runs, kept over a refresh. Storage may be full, forbidden or switched off: then there
 * is nothing to go on with after a refresh, and nothing else is lost.
 *
 * @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} KeyValues
 */

const KEY = 'fal-video:job';

export class Memory {
  #storage;

  /** @param {KeyValues | null} [storage] this tab's own by default, null for none */
  constructor(storage) {
    this.#storage = storage;
  }

  /** @returns {string | null} */
  read() {
    return this.#try((storage) => storage.getItem(KEY)) ?? null;
  }

  /** @param {string} jobId */
  write(jobId) {
    this.#try((storage) => storage.setItem(KEY, jobId));
  }

  /** @param {string} [jobId] only if it is this one */
  forget(jobId) {
    if (jobId === undefined || this.read() === jobId) {
      this.#try((storage) => storage.removeItem(KEY));
    }
  }

  /** @template T @param {(storage: KeyValues) => T} use @returns {T | null} */
  #try(use) {
    try {
      const storage = this.#storage === undefined ? globalThis.sessionStorage : this.#storage;
      return storage ? use(storage) : null;
    } catch {
      return null;
    }
  }
}
