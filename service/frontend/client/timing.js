/**
 * Every wait of the client, in milliseconds, each with its reason.
 *
 * @typedef {import('../video-client.js').Timing} Timing
 */

/** @type {Readonly<Timing>} */
export const TIMING = Object.freeze({
  // A stream speaks at once and then every 10 s. One that has said nothing by now is being held
  // back by a proxy.
  firstByteMs: 12_000,
  // Three heartbeats missed: the connection is dead, or a proxy collects what it should pass on.
  silenceMs: 30_000,
  // A stream that only breathes is checked by a read this often, should a push have been lost.
  quietMs: 60_000,
  // After a wake-up, a connection that was silent for longer than a heartbeat is not trusted.
  doubtMs: 12_000,
  // How long a status read may be held open by the service, which allows 25 s.
  waitMs: 25_000,
  // An ordinary answer takes milliseconds; this is for a bad network.
  answerMs: 15_000,
  // 10 MB over a slow uplink take a while.
  submitMs: 180_000,
  // Between plain status reads.
  pollMs: 3_000,
  // Before a stream is tried again where one did not work; doubles up to the maximum.
  streamAgainMs: 60_000,
  streamAgainMaxMs: 300_000,
  // After a stream that worked and ended, until the server says otherwise (`retry`).
  reconnectMs: 2_000,
  // After a failure; doubles up to the maximum.
  backoffMs: 1_000,
  backoffMaxMs: 30_000,
});
