/**
 * What can go wrong, as one class with a stable `code`.
 *
 * @typedef {import('../video-client.js').FieldProblem} FieldProblem
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 */

// A server that asks for more patience than this is asked again all the same.
const RETRY_AFTER_MAX_MS = 300_000;

/** Codes that this client gives by itself; every other one is the service's own. */
export const NETWORK = 'network';
export const TIMEOUT = 'timeout';
export const UNEXPECTED = 'unexpected_answer';
export const SIGN_IN = 'sign_in_required';
export const NOT_FOUND = 'not_found';

export class VideoClientError extends Error {
  /**
   * @param {string} code
   * @param {string} message for people
   * @param {import('../video-client.js').VideoClientErrorFacts} [facts]
   */
  constructor(code, message, facts = {}) {
    super(message, 'cause' in facts ? { cause: facts.cause } : undefined);
    this.name = 'VideoClientError';
    this.code = code;
    /** The HTTP status, 0 where there was no answer. */
    this.status = facts.status ?? 0;
    /** The fields that the service found wrong, each with its fix. @type {FieldProblem[]} */
    this.errors = facts.errors ?? [];
    /** How long the service asks to wait. @type {number | null} */
    this.retryAfterMs = facts.retryAfterMs ?? null;
    /** The failed job, where this is a job's end. @type {JobStatus | null} */
    this.job = facts.job ?? null;
    /** Whether the service itself said this, and not something on the way to it. */
    this.fromService = facts.fromService ?? false;
  }
}

/** @param {Response} response one that is not a success; its body is read here */
export async function refusal(response) {
  const problem = await problemIn(response);
  const code = codeOf(response.status, problem);
  return new VideoClientError(code, wordsFor(response, problem), {
    status: response.status,
    errors: Array.isArray(problem?.errors) ? problem.errors : [],
    retryAfterMs: retryAfterMs(response.headers.get('retry-after')),
    fromService: typeof problem?.code === 'string',
  });
}

/** @param {JobStatus} job one whose status is failed */
export function failureOf(job) {
  const { code, message } = job.error ?? { code: 'failed', message: 'The video was not made.' };
  return new VideoClientError(code, message, { job, fromService: true });
}

/** @param {string | null} header seconds or a date, see RFC 9110 */
export function retryAfterMs(header) {
  if (!header) return null;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), RETRY_AFTER_MAX_MS);
}

/** @param {Response} response */
async function problemIn(response) {
  if (!response.headers.get('content-type')?.includes('json')) {
    // Nobody reads it, and an unread body would hold its connection.
    await response.body?.cancel();
    return null;
  }
  return response.json().catch(() => null);
}

/** @param {number} status @param {{code?: unknown} | null} problem */
function codeOf(status, problem) {
  if (status === 401) return SIGN_IN; // whoever on the way says so, and however
  if (typeof problem?.code === 'string') return problem.code;
  return status === 404 ? NOT_FOUND : UNEXPECTED;
}

/** @param {Response} response @param {{detail?: unknown} | null} problem */
function wordsFor(response, problem) {
  if (typeof problem?.detail === 'string') return problem.detail;
  if (response.status === 401) return 'Sign in first.';
  return `The service answered with status ${response.status}.`;
}
