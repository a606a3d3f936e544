/** A job's life as a line in time: each step, and how long after the one before. */

import { make } from '../designer/dom.js';
import { toDelivery, toJob } from './address.js';
import { code, instant, link } from './parts.js';
import { age, plain, shortId, shown, title } from './words.js';

export function timeline(steps) {
  let before = null;
  const lines = steps.map((step) => {
    const line = make(
      'li',
      { data: { what: step.what } },
      make('p', { className: 'step-what' }, title(step.what)),
      make('p', { className: 'step-when' }, ...when(step.at, before)),
      ...details(step.details),
    );
    before = step.at ?? before;
    return line;
  });
  return make('ol', { className: 'timeline' }, ...lines);
}

function when(at, before) {
  if (!at) return ['at an unknown time'];
  if (!before) return [instant(at)];
  const ms = Date.parse(at) - Date.parse(before);
  return [
    instant(at),
    ` +${ms < 10_000 ? `${(Math.max(ms, 0) / 1000).toFixed(2)} s` : age(ms / 1000)}`,
  ];
}

/** A sentence, or names and values. */
function details(told) {
  if (!told) return [];
  if (typeof told === 'string') return [make('p', { className: 'step-details' }, told)];
  const known = Object.entries(told).filter(([, value]) => value !== null && value !== '');
  if (!known.length) return [];
  const pairs = known.map(([name, value]) =>
    make('div', {}, make('dt', {}, plain(name)), make('dd', {}, detail(name, value))),
  );
  return [make('dl', { className: 'step-details' }, ...pairs)];
}

/** What can be looked at is a link; what is compared letter by letter is set so. */
function detail(name, value) {
  if (name === 'deliveryId') return link(toDelivery(value), shortId(value));
  if (name === 'jobId' || name === 'recovers') return link(toJob(value), value);
  return /Id$|^sha256$|^key$/.test(name) ? code(value) : shown(value);
}
