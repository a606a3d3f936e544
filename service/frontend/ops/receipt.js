/** One job's receipt: every step with its time, its money, its deliveries, what is stored. */

import { byId, make, setText } from '../designer/dom.js';
import { toCredits, toJob } from './address.js';
import { deliveryTable } from './deliveries.js';
import { badge, block, button, code, facts, instant, link, since } from './parts.js';
import { ledgerTable } from './money.js';
import { timeline } from './steps.js';
import { FINAL, age, bytes, credits, plain, shown as said } from './words.js';

export function createReceipt({ ops, moves, money, trouble }) {
  let asked = null; // the job's id
  let drawn = '';
  let offered = '';

  async function open(params) {
    asked = params.get('job');
    drawn = '';
    offered = '';
    setText(byId('job-title'), `Job ${asked}`);
    setText(byId('job-lead'), 'Reading…');
    byId('job-parked').hidden = true;
    byId('job-actions').replaceChildren();
    byId('job-receipt').replaceChildren();
    await refresh();
  }

  async function refresh() {
    const id = asked;
    try {
      const found = await ops.run('jobs.show', { id });
      if (id === asked) draw(found);
    } catch (error) {
      if (id === asked) missing(error);
    }
  }

  function missing(error) {
    if (error.code !== 'not_found') return trouble(error);
    setText(byId('job-lead'), `There is no job ${asked}.`);
  }

  function draw(found) {
    const { job } = found;
    drawLead(job);
    const now = JSON.stringify(found);
    if (now === drawn) return;
    drawn = now;
    drawParked(job);
    offer(found);
    byId('job-receipt').replaceChildren(...sections(found, ops));
  }

  /** Only the words of a line that is read now and then; it moves on by the clock. */
  function drawLead(job) {
    const lead = byId('job-lead');
    const ended = FINAL.has(job.state) ? 'ended' : 'last moved';
    const ago = age(ops.ageS(job.finishedAt ?? job.updatedAt));
    const text = ` ${ended} ${ago} ago${dueWords(job, ops)}`;
    const state = `${job.state} ${job.parked}`;
    if (lead.dataset.state !== state || !lead.querySelector('.badge')) {
      lead.dataset.state = state;
      lead.replaceChildren(badge(job.state, job.parked), make('span', {}));
    }
    setText(lead.lastChild, text);
  }

  function drawParked(job) {
    const panel = byId('job-parked');
    panel.hidden = !job.parked;
    panel.replaceChildren(
      make('p', {}, make('strong', {}, 'Parked: '), job.parkedReason ?? 'no reason known'),
      make('p', { className: 'hint' }, `Its ${credits(job.credits)} stay reserved until it ends.`),
    );
  }

  /** The buttons are made anew only when there are others: one of them may have the focus. */
  function offer({ job, ledger }) {
    const buttons = [];
    const { id, parked } = job;
    if (parked) buttons.push(button('Redrive…', () => void moves.redriveJob(id), 'primary'));
    if (!FINAL.has(job.state)) {
      buttons.push(button('Cancel…', () => void moves.cancelJob(id, { parked }), 'danger'));
    }
    const refunded = ledger.some((each) => each.kind === 'refund');
    if (job.state === 'ready' && !refunded) {
      buttons.push(button('Refund…', () => money.refundJob(job)));
    }
    const now = `${job.state} ${parked} ${refunded}`;
    if (now === offered) return;
    const had = byId('job-actions').contains(document.activeElement);
    offered = now;
    byId('job-actions').replaceChildren(...buttons);
    if (had) (buttons[0] ?? byId('job-title')).focus();
  }

  return { open, refresh };
}

function dueWords({ due }, ops) {
  if (!due) return '';
  const late = ops.ageS(due);
  return late > 0
    ? `, due for ${age(late)}`
    : `, next due ${new Date(due).toLocaleTimeString('en-GB')}`;
}

function sections(found, ops) {
  const { job, steps, deliveries, ledger, requests, object, writeOffs, actions } = found;
  return [
    block('What happened', timeline(steps)),
    block('The order', orderFacts(job, ops)),
    block(
      'Ledger',
      ledger.length ? tableOf(ledgerTable('Ledger entries', { withJob: false }), ledger) : none(),
    ),
    block('Stored video', object ? objectFacts(object) : none('Nothing is stored yet.')),
    block('Deliveries', deliveries.length ? ofDeliveries(deliveries) : none()),
    ...(requests?.length ? [block('Requests at fal', list(requests))] : []),
    ...(writeOffs?.length ? [block('Written off', list(writeOffs))] : []),
    ...(actions?.length ? [block('Operators', list(actions.map(action)))] : []),
  ];
}

function orderFacts(job, ops) {
  return facts([
    ['Owner', link(toCredits(job.owner), job.owner)],
    ['Template', job.templateSlug],
    ['Provider', [job.provider, job.model && `(${job.model})`].filter(Boolean).join(' ')],
    ['Duration', job.durationSeconds ? `${job.durationSeconds} s` : null],
    ['Price', credits(job.credits)],
    ['Ordered', since(job.createdAt, ops.ageS)],
    ['Attempts', `${job.submitAttempts} to submit, ${job.finaliseAttempts} to finalise`],
    ['Cancel asked', job.cancelIfFinished && `if finished all the same: ${job.cancelIfFinished}`],
    ['Recovers', job.recovers && link(toJob(job.recovers), job.recovers)],
    ['Error', job.error],
    ['Last problem', job.lastProblem],
    ['Deleted', job.deletedAt && since(job.deletedAt, ops.ageS)],
  ]);
}

function objectFacts({ key, bytes: size, sha256 }) {
  return facts([
    ['Key', key && code(key)],
    ['Size', typeof size === 'number' ? bytes(size) : null],
    ['SHA-256', sha256 && code(sha256)],
  ]);
}

function tableOf(table, rows) {
  table.draw(rows);
  return table.node;
}

const ofDeliveries = (rows) =>
  tableOf(deliveryTable('Deliveries of this job', { withJob: false }), rows);

const none = (text = 'None.') => make('p', { className: 'hint' }, text);

/** It is this job's, so that need not be said. */
const action = ({ jobId, ...told }) => told;

/** Rows of which only a few exist, each as its names and values. */
function list(rows) {
  const lines = rows.map((row) => make('li', {}, typeof row === 'string' ? code(row) : pairs(row)));
  return make('ul', { className: 'rows' }, ...lines);
}

function pairs(row) {
  const known = Object.entries(row).filter(([, value]) => value !== null && value !== '');
  return facts(known.map(([name, value]) => [plain(name), cell(name, value)]));
}

function cell(name, value) {
  if (name === 'at' || name.endsWith('At')) return instant(value);
  return said(value);
}
