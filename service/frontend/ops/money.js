/** Credits by hand: grants and refunds, each under an id, so that a repeat adds nothing. */

import { toJob } from './address.js';
import { freshId } from './api.js';
import { field, input, tellMistakes } from './fields.js';
import { instant, link } from './parts.js';
import { createTable, piece, text } from './table.js';
import { credits } from './words.js';

const AMOUNT = 'money-amount';
const REASON = 'money-reason';
const WHOLE = /^[1-9]\d{0,8}$/;
const SAFE_TO_REPEAT =
  'No answer came. Confirm it again: it happens once, however often it is asked for.';

export function createMoney({ ops, ask, notices, changed }) {
  function grant(email) {
    const amount = input(AMOUNT, { inputMode: 'numeric', maxLength: 9 });
    const id = freshId();
    ask({
      title: 'Grant credits?',
      about: `This would add credits to ${email}. An account that does not exist is made.`,
      fields: [field('Credits', amount, 'A whole number.')],
      confirm: 'Grant them',
      unanswered: SAFE_TO_REPEAT,
      check: () => tellMistakes({ [AMOUNT]: amountMistake(amount.value) }),
      act: () => ops.run('credits.grant', { email, amount: Number(amount.value), id }),
      done: (answer) => {
        const now = `now ${credits(answer.available)} available`;
        if (answer.changed === false)
          notices.say(`Nothing changed: this grant was made before, ${now}.`);
        else notices.say(`Granted ${credits(Number(amount.value))} to ${email}: ${now}.`);
        return changed();
      },
    });
  }

  /** What a finished video cost, once ever; the video stays with its owner. */
  function refundJob(job) {
    const reason = reasonInput();
    ask({
      title: 'Refund this video?',
      about:
        `This would give ${credits(job.credits)} of job ${job.id} back to ${job.owner}. ` +
        'The video stays in the library. A job is refunded once.',
      fields: [field('Reason', reason, 'It is kept in the ledger.')],
      confirm: 'Refund it',
      danger: true,
      unanswered: SAFE_TO_REPEAT,
      check: () => tellMistakes({ [REASON]: reasonMistake(reason.value) }),
      act: () => ops.run('credits.refund', { jobId: job.id, reason: reason.value.trim() }),
      done: (answer) => tellRefund(answer, job.credits, job.owner),
    });
  }

  /** Credits that no single job names. */
  function refundAmount(email) {
    const amount = input(AMOUNT, { inputMode: 'numeric', maxLength: 9 });
    const reason = reasonInput();
    const id = freshId();
    ask({
      title: 'Refund credits?',
      about:
        `This would give credits that ${email} has spent back to this account. ` +
        'To refund one video, open its job.',
      fields: [
        field('Credits', amount, 'A whole number.'),
        field('Reason', reason, 'It is kept in the ledger.'),
      ],
      confirm: 'Refund them',
      danger: true,
      unanswered: SAFE_TO_REPEAT,
      check: () =>
        tellMistakes({
          [AMOUNT]: amountMistake(amount.value),
          [REASON]: reasonMistake(reason.value),
        }),
      act: () =>
        ops.run('credits.refund', {
          email,
          amount: Number(amount.value),
          reason: reason.value.trim(),
          id,
        }),
      done: (answer) => tellRefund(answer, Number(amount.value), email),
    });
  }

  function tellRefund(answer, amount, email) {
    if (answer.changed === false)
      notices.say(`Nothing changed: ${answer.said ?? 'it was refunded before'}.`);
    else notices.say(`Refunded ${credits(amount)} to ${email}.`);
    return changed();
  }

  return { grant, refundJob, refundAmount };
}

const reasonInput = () => input(REASON, { maxLength: 200 });

function amountMistake(said) {
  return WHOLE.test(said.trim()) ? null : 'Write a whole number of credits, 1 or more.';
}

function reasonMistake(said) {
  return said.trim() ? null : 'Say why; whoever reads the ledger wants to know.';
}

/** Ledger entries as rows. */
export function ledgerTable(caption, { withJob = true } = {}) {
  const job = { title: 'Job', className: 'id', fill: piece((entry) => entry.jobId, forJob) };
  return createTable({
    caption,
    keyOf: (entry) => entry.id,
    columns: [
      {
        title: 'When',
        className: 'when',
        fill: piece(
          (entry) => entry.at,
          (entry) => instant(entry.at),
        ),
      },
      { title: 'Kind', fill: text((entry) => entry.kind) },
      {
        title: 'Credits',
        className: 'number',
        fill: text((entry) => entry.credits.toLocaleString('en-GB')),
      },
      ...(withJob ? [job] : []),
      { title: 'Reason', className: 'wide', fill: text((entry) => entry.reason) },
      { title: 'Entry', className: 'id entry', fill: text((entry) => entry.id) },
    ],
  });
}

function forJob({ jobId }) {
  return jobId ? link(toJob(jobId), jobId) : document.createTextNode('');
}
