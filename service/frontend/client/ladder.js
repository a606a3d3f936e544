/**
 * Which way to listen next: a stream, else a read that the service holds open, else plain reads.
 * A way that does not work here is left, and the stream is tried again later.
 *
 * @typedef {import('../video-client.js').Timing} Timing
 * @typedef {'stream' | 'held' | 'plain'} Way
 */
import { NETWORK, VideoClientError } from './errors.js';

// The network fails everything alike, so one failure says nothing about the way.
const FAILURES_OF_NETWORK = 2;
const FAILURES_HELD = 2;
// A read may be answered early for good reasons (an estimate moved on, the service stops); this
// often in a row, something on the way ignores that it should be held.
const EARLY_ANSWERS = 3;

export class Ladder {
  #timing;
  #streamFailures = 0;
  #streamPauses = 0;
  #streamFrom = 0; // the instant before which no stream is tried
  #heldFailures = 0;
  #early = 0;

  /** @param {Timing} timing */
  constructor(timing) {
    this.#timing = timing;
  }

  /** @returns {Way} */
  next() {
    if (Date.now() >= this.#streamFrom) return 'stream';
    return this.#heldFailures < FAILURES_HELD ? 'held' : 'plain';
  }

  /** How long until a stream may be tried. */
  get streamInMs() {
    return Math.max(0, this.#streamFrom - Date.now());
  }

  streamWorked() {
    this.#streamFailures = 0;
    this.#streamPauses = 0;
    this.#heldFailures = 0;
    this.#early = 0;
  }

  /** @param {unknown} error @returns {boolean} whether to go on at once, the next way */
  streamFailed(error) {
    const network = error instanceof VideoClientError && error.code === NETWORK;
    this.#streamFailures += 1;
    if (network && this.#streamFailures < FAILURES_OF_NETWORK) return false;
    const { streamAgainMs, streamAgainMaxMs } = this.#timing;
    const ms = Math.min(streamAgainMs * 2 ** this.#streamPauses, streamAgainMaxMs);
    const askedMs = error instanceof VideoClientError ? (error.retryAfterMs ?? 0) : 0;
    this.#streamPauses = Math.min(this.#streamPauses + 1, 20);
    this.#streamFailures = 0;
    this.#streamFrom = Date.now() + Math.max(ms, askedMs);
    return !network;
  }

  heldFailed() {
    this.#heldFailures += 1;
  }

  /** @param {boolean} newer @param {number} tookMs */
  heldAnswered(newer, tookMs) {
    const early = !newer && tookMs < this.#timing.waitMs / 10;
    this.#early = early ? this.#early + 1 : 0;
    this.#heldFailures = this.#early < EARLY_ANSWERS ? 0 : FAILURES_HELD;
  }

  /** The page woke up, maybe in another network: what was learnt of the old one counts no more. */
  forget() {
    this.#streamFrom = 0;
    this.streamWorked();
  }
}
