/** fal's deliveries, the newest first: all of them, one job's, or those that need a person. */

import { byId, setText } from '../designer/dom.js';
import { toDelivery, toJob, toView } from './address.js';
import { instant } from './parts.js';
import { anchor, createTable, piece, text } from './table.js';
import { bytes, count, shortId, timeOfDay } from './words.js';

const SHOWN = 50;

export function createDeliveries({ ops, go, trouble }) {
  const job = byId('deliveries-job');
  const only = byId('deliveries-only');
  const table = deliveryTable('Deliveries found');
  byId('deliveries-table').append(table.node);
  let asked = 0;

  async function open(params) {
    const mine = ++asked;
    job.value = params.get('job') ?? '';
    only.value = params.get('only') ?? '';
    try {
      const { deliveries } = await ops.run('inbox.list', wanted(params));
      if (mine === asked) draw(deliveries);
    } catch (error) {
      if (mine === asked) trouble(error);
    }
  }

  function draw(deliveries) {
    table.draw(deliveries);
    byId('deliveries-table').hidden = deliveries.length === 0;
    const read = `read at ${timeOfDay(new Date())}`;
    const found = deliveries.length
      ? count(deliveries.length, 'delivery', 'deliveries')
      : 'No such deliveries';
    const newest = deliveries.length === SHOWN ? 'The newest ' : '';
    setText(byId('deliveries-lead'), `${newest}${found}, ${read}.`);
  }

  byId('deliveries-form').addEventListener('submit', (event) => {
    event.preventDefault();
    go(toView('deliveries', { job: job.value.trim(), only: only.value }));
  });

  return { open, results: () => byId('deliveries-lead') };
}

/** Deliveries as rows; a job's own receipt leaves the job out. */
export function deliveryTable(caption, { withJob = true } = {}) {
  const job = {
    title: 'Job',
    className: 'id',
    fill: anchor((each) => ({ href: toJob(each.jobId), text: each.jobId })),
  };
  return createTable({
    caption,
    keyOf: (each) => each.id,
    columns: [
      {
        title: 'Delivery',
        className: 'id',
        fill: anchor((each) => ({ href: toDelivery(each.id), text: shortId(each.id) })),
      },
      { title: 'Received', className: 'when', fill: piece((each) => each.receivedAt, received) },
      { title: 'Outcome', className: 'wide', fill: text(outcomeWords) },
      ...(withJob ? [job] : []),
      { title: 'Size', className: 'number', fill: text((each) => bytes(each.bytes)) },
    ],
  });
}

export function outcomeWords({ parked, outcome, handledAt, stale }) {
  const old = stale ? ' (its timestamp was out of the window: a hint only)' : '';
  if (parked) return `parked: ${outcome ?? 'no reason known'}${old}`;
  return handledAt ? `${outcome ?? 'handled'}${old}` : `waiting${old}`;
}

const received = (each) => instant(each.receivedAt);

function wanted(params) {
  const jobId = params.get('job');
  const which = params.get('only') === 'parked' ? { parked: true } : { recent: true };
  return { limit: SHOWN, ...(jobId ? { jobId } : which) };
}
