/**
 * Requests to the service: where it is, who is asking, and errors as one class.
 *
 * @typedef {import('../video-client.js').Token} Token
 * @typedef {{method?: string, headers?: Record<string, string>, body?: BodyInit,
 *   signal?: AbortSignal | null}} Call
 */
import { NETWORK, SIGN_IN, TIMEOUT, UNEXPECTED, VideoClientError, refusal } from './errors.js';
import { Attempt, Silence } from './waiting.js';

export class Api {
  #baseUrl;
  #token;
  #fetch;

  /** @param {{baseUrl: string, token: Token, fetch: typeof globalThis.fetch}} options */
  constructor({ baseUrl, token, fetch }) {
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#token = token;
    this.#fetch = fetch;
  }

  /**
   * The answer, whatever its status. After a 401, a token that is a function is asked once more:
   * the one it gave may just have ended.
   *
   * @param {string} path
   * @param {Call} call
   * @returns {Promise<Response>}
   */
  async send(path, call = {}) {
    const response = await this.#sendOnce(path, call);
    if (response.status !== 401 || typeof this.#token !== 'function') return response;
    await response.body?.cancel();
    return this.#sendOnce(path, call);
  }

  /**
   * The JSON of a successful answer; null where there is none to read.
   *
   * @param {string} path
   * @param {Call} call
   * @param {number} limitMs
   * @returns {Promise<any>}
   */
  async json(path, call, limitMs) {
    const attempt = new Attempt(call.signal, limitMs);
    try {
      const response = await this.send(path, { ...call, signal: attempt.signal });
      if (!response.ok) throw await refusal(response);
      return response.status === 204 ? null : await parsed(response);
    } catch (error) {
      if (!attempt.signal.aborted) throw error;
      const { reason } = attempt.signal;
      throw reason instanceof Silence ? timedOut(error) : reason;
    } finally {
      attempt.close();
    }
  }

  /** @param {string} path @param {Call} call */
  async #sendOnce(path, { headers = {}, ...call }) {
    const signedIn = { ...(await this.#authorization()), ...headers };
    try {
      return await this.#fetch(this.#baseUrl + path, {
        ...call,
        headers: signedIn,
        cache: 'no-store',
      });
    } catch (cause) {
      if (call.signal?.aborted) throw call.signal.reason;
      throw new VideoClientError(NETWORK, 'The service cannot be reached.', { cause });
    }
  }

  /** @returns {Promise<Record<string, string>>} */
  async #authorization() {
    const token = typeof this.#token === 'function' ? await this.#ask(this.#token) : this.#token;
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** @param {() => unknown} token */
  async #ask(token) {
    try {
      return await token();
    } catch (cause) {
      if (cause instanceof VideoClientError) throw cause;
      // What fetch rejects with: the token's own source is out of reach, which is no verdict.
      const code = cause instanceof TypeError ? NETWORK : SIGN_IN;
      throw new VideoClientError(code, 'There is no token to sign in with.', { cause });
    }
  }
}

/** @param {Response} response @returns {Promise<any>} */
export async function parsed(response) {
  let text;
  try {
    text = await response.text();
  } catch (cause) {
    throw new VideoClientError(NETWORK, 'The answer broke off.', { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new VideoClientError(UNEXPECTED, 'The answer is not what the service sends.', {
      status: response.status,
      cause,
    });
  }
}

/** @param {unknown} cause */
export function timedOut(cause) {
  return new VideoClientError(TIMEOUT, 'The service did not answer in time.', { cause });
}
