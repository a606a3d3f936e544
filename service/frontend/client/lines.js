/**
 * The console's lines: one for each change of a job, whichever way it became known.
 *
 * @typedef {import('../video-client.js').JobStatus} JobStatus
 */

export class Lines {
  #log;
  #started = new Set();
  /** What was said last of each job. @type {Map<string, {version: number, line: string}>} */
  #last = new Map();

  /** @param {import('../video-client.js').Log | null} log */
  constructor(log) {
    this.#log = log;
  }

  /** @param {string} jobId */
  started(jobId) {
    if (this.#started.has(jobId)) return; // the same order sent twice is the same job
    this.#started.add(jobId);
    this.#log?.info(`[VIDEO] Job started: ${jobId}`);
  }

  /** @param {JobStatus} job */
  status(job) {
    const { jobId, version } = job;
    const last = this.#last.get(jobId);
    const line = lineFor(job);
    if (last && (last.line === line || last.version > version)) return;
    this.#last.set(jobId, { version, line });
    this.#log?.info(line);
  }
}

/** @param {JobStatus} job */
function lineFor({ status, progress, key, error }) {
  if (status === 'completed') return `[VIDEO] Generation complete: ${key}`;
  if (status === 'failed') return `[VIDEO] Generation failed: ${error?.code ?? 'failed'}`;
  return `[VIDEO] status=${status} progress=${progress}`;
}
