/** Jobs by state, by what is due or parked, by owner; a page at a time, the newest first. */

import { byId, make, setText } from '../designer/dom.js';
import { toJob, toView } from './address.js';
import { badge, instant } from './parts.js';
import { anchor, createTable, piece, text } from './table.js';
import { STATES, count, plain, timeOfDay } from './words.js';

const PAGE = 25;

export function createJobs({ ops, go, trouble }) {
  const who = byId('jobs-who');
  const state = byId('jobs-state');
  const only = byId('jobs-only');
  state.append(make('option', { value: '' }, 'any'));
  state.append(...STATES.map((each) => make('option', { value: each }, plain(each))));
  const table = createTable({ caption: 'Jobs found', keyOf: (job) => job.id, columns: COLUMNS });
  byId('jobs-table').append(table.node);
  let asked = 0;

  /** Read what the address asks for; an answer that another one has overtaken is not shown. */
  async function open(params) {
    const mine = ++asked;
    who.value = params.get('email') ?? '';
    state.value = params.get('state') ?? '';
    only.value = params.get('only') ?? '';
    try {
      const found = await ops.run('jobs.list', wanted(params));
      if (mine === asked) draw(found, params);
    } catch (error) {
      if (mine === asked) trouble(error);
    }
  }

  function draw(found, params) {
    const { jobs, nextBefore } = found;
    table.draw(jobs);
    byId('jobs-table').hidden = jobs.length === 0;
    setText(byId('jobs-lead'), leadWords(jobs, nextBefore, params));
    pager('jobs-first', params.has('before'), { ...search(params) });
    pager('jobs-older', Boolean(nextBefore), { ...search(params), before: nextBefore });
  }

  function pager(id, shown, params) {
    byId(id).hidden = !shown;
    byId(id).href = toView('jobs', params);
  }

  byId('jobs-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const said = who.value.trim();
    if (said && !said.includes('@')) return go(toJob(said));
    go(toView('jobs', { email: said, state: state.value, only: only.value }));
  });

  return { open, results: () => byId('jobs-lead') };
}

const COLUMNS = [
  { title: 'Job', className: 'id', fill: anchor((job) => ({ href: toJob(job.id), text: job.id })) },
  {
    title: 'State',
    fill: piece(
      (job) => [job.state, job.parked],
      (job) => badge(job.state, job.parked),
    ),
  },
  { title: 'Owner', className: 'owner', fill: text((job) => job.owner) },
  { title: 'Provider', fill: text((job) => job.provider) },
  { title: 'Credits', className: 'number', fill: text((job) => job.credits) },
  {
    title: 'Ordered',
    className: 'when',
    fill: piece(
      (job) => job.createdAt,
      (job) => instant(job.createdAt),
    ),
  },
  {
    title: 'Note',
    className: 'wide',
    fill: text((job) => job.parkedReason ?? job.error ?? job.lastProblem),
  },
];

function search(params) {
  return { email: params.get('email'), state: params.get('state'), only: params.get('only') };
}

function wanted(params) {
  const { email, state, only } = search(params);
  return {
    limit: PAGE,
    ...(email ? { email } : {}),
    ...(STATES.includes(state) ? { state } : {}),
    ...(only === 'due' ? { due: true } : {}),
    ...(only === 'parked' ? { parked: true } : {}),
    ...(params.get('before') ? { before: params.get('before') } : {}),
  };
}

function leadWords(jobs, nextBefore, params) {
  const read = `read at ${timeOfDay(new Date())}`;
  if (!jobs.length) return `No such jobs, ${read}.`;
  const older = params.has('before') ? 'older ' : '';
  const more = nextBefore ? ', and there are more' : '';
  return `${count(jobs.length, `${older}job`)}${more}, ${read}.`;
}
