/** The service in figures. */

import { byId, make, setText } from '../designer/dom.js';
import { toView } from './address.js';
import { STATES, age, count, credits, plain } from './words.js';

export function createOverview({ ops }) {
  const figures = new Map(); // name -> what shows it
  const states = new Map();

  function figure(name, tell, about = '', wrong = false) {
    let shown = figures.get(name);
    if (!shown) {
      shown = { value: make('dd', {}), about: make('dd', { className: 'hint' }) };
      shown.node = make('div', {}, make('dt', {}, name), shown.value, shown.about);
      figures.set(name, shown);
      byId('figures').append(shown.node);
    }
    setText(shown.value, tell);
    setText(shown.about, about);
    shown.about.hidden = !about;
    shown.node.classList.toggle('wrong', wrong);
  }

  function state(name, number) {
    let shown = states.get(name);
    if (!shown) {
      const said = make('a', { href: toView('jobs', { state: name }) }, plain(name));
      shown = { value: make('span', { className: 'number' }) };
      states.set(name, shown);
      shown.node = make('li', { data: { state: name } }, shown.value, ' ', said);
      byId('states').append(shown.node);
    }
    shown.node.dataset.none = String(number === 0);
    setText(shown.value, number.toLocaleString('en-GB'));
  }

  return {
    draw(now) {
      const { due, inbox, lastAudit } = now;
      figure('Due jobs', String(due.jobs), oldest(due.oldestS, due.jobs));
      figure('Deliveries waiting', String(inbox.waiting), oldest(inbox.oldestS, inbox.waiting));
      figure('Purges waiting', String(now.purgesWaiting));
      figure('Written off', credits(now.writtenOff));
      figure('Last ledger check', ...checkWords(lastAudit, ops));
      figure('Version', now.version);
      for (const name of STATES) state(name, now.states[name] ?? 0);
    },
  };
}

function oldest(seconds, number) {
  return number && seconds !== null ? `the oldest for ${age(seconds)}` : '';
}

/** The value, what is said about it, and whether it is a bad sign. */
function checkWords(last, ops) {
  if (!last) return ['none yet'];
  const ago = last.at ? `${age(ops.ageS(last.at))} ago` : '';
  if (last.passed) return ['passed', ago];
  const violations = Array.isArray(last.violations) ? last.violations.length : last.violations;
  return [count(violations ?? 0, 'violation'), ago, true];
}
