/** What waits for a person: jobs and deliveries, the longest first, each with its reason. */

import { byId, setText } from '../designer/dom.js';
import { toDelivery, toJob } from './address.js';
import { badge, button } from './parts.js';
import { anchor, createTable, fixed, piece, text } from './table.js';
import { age, count, shortId } from './words.js';

const SHOWN = 50;

export function createParked({ ops, moves }) {
  const jobs = createTable({
    caption: 'Parked jobs',
    keyOf: (job) => job.id,
    columns: [
      {
        title: 'Job',
        className: 'id',
        fill: anchor((job) => ({ href: toJob(job.id), text: job.id })),
      },
      { title: 'Reason', className: 'wide', fill: text((job) => job.parkedReason) },
      {
        title: 'Stopped at',
        fill: piece(
          (job) => job.state,
          (job) => badge(job.state),
        ),
      },
      { title: 'For', className: 'short', fill: text((job) => age(ops.ageS(job.updatedAt))) },
      {
        title: 'Actions',
        className: 'buttons',
        fill: fixed((job) => [
          named(
            button('Redrive…', () => void moves.redriveJob(job.id)),
            `Redrive job ${job.id}…`,
          ),
        ]),
      },
    ],
  });
  const deliveries = createTable({
    caption: 'Parked deliveries',
    keyOf: (each) => each.id,
    columns: [
      {
        title: 'Delivery',
        className: 'id',
        fill: anchor((each) => ({ href: toDelivery(each.id), text: shortId(each.id) })),
      },
      { title: 'Reason', className: 'wide', fill: text((each) => each.outcome) },
      {
        title: 'Job',
        className: 'id',
        fill: anchor((each) => ({ href: toJob(each.jobId), text: each.jobId })),
      },
      { title: 'For', className: 'short', fill: text((each) => age(ops.ageS(each.receivedAt))) },
      {
        title: 'Actions',
        className: 'buttons',
        fill: fixed((each) => [
          named(
            button('Redrive…', () => void moves.redriveDelivery(each.id)),
            `Redrive delivery ${shortId(each.id)}…`,
          ),
        ]),
      },
    ],
  });
  byId('parked-jobs').append(jobs.node);
  byId('parked-deliveries').append(deliveries.node);

  /** Asks only for what the overview counts. */
  async function refresh(parked) {
    const [found, stuck] = await Promise.all([
      parked.jobs ? ops.run('jobs.list', { parked: true, limit: SHOWN }) : { jobs: [] },
      parked.deliveries
        ? ops.run('inbox.list', { parked: true, limit: SHOWN })
        : { deliveries: [] },
    ]);
    jobs.draw(found.jobs);
    deliveries.draw(stuck.deliveries);
    byId('parked-jobs').hidden = found.jobs.length === 0;
    byId('parked-deliveries').hidden = stuck.deliveries.length === 0;
    setText(byId('parked-lead'), leadWords(parked, found.jobs.length, stuck.deliveries.length));
    byId('parked-lead').classList.toggle('calm', !parked.jobs && !parked.deliveries);
  }

  return { refresh };
}

/** The button's whole name begins with what it shows. */
function named(node, name) {
  node.setAttribute('aria-label', name);
  return node;
}

function leadWords(parked, jobsShown, deliveriesShown) {
  const parts = [];
  if (parked.jobs) parts.push(count(parked.jobs, 'job'));
  if (parked.deliveries) parts.push(count(parked.deliveries, 'delivery', 'deliveries'));
  if (!parts.length) return 'Nothing is parked: no job and no delivery waits for a person.';
  const wait = parked.jobs + parked.deliveries === 1 ? 'waits' : 'wait';
  const all = jobsShown >= parked.jobs && deliveriesShown >= parked.deliveries;
  const rest = all ? '' : ` The ${SHOWN} that wait longest are shown.`;
  const said = `${parts.join(' and ')} ${wait} for a person.`;
  return `${said} Parked jobs keep their credits reserved.${rest}`;
}
