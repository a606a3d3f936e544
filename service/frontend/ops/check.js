/** The ledger check: every invariant, and what breaks it. */

import { byId, make, setText } from '../designer/dom.js';
import { toJob } from './address.js';
import { block, facts, link } from './parts.js';
import { count, plain, timeOfDay } from './words.js';

// The words of the invariants, as `fal-video audit` says them.
const INVARIANTS = {
  BALANCED: 'Available + reserved + captured = granted, and the ledger agrees',
  SETTLED_ONCE: 'At most one settlement per job, of its full price',
  DELIVERED: 'Captured = ready = stored with its size and hash = in the library',
  MOVING: 'Every unfinished job has a due time or waits for a person',
  ACCEPTED_IS_KEPT: 'Every stored delivery is handled, due or parked',
  PURGED: 'Every deleted video is gone, or due to be removed everywhere',
  CLOSED_BY_VERDICT: 'Every job without a video was released, and says why',
};

export function createCheck({ ops, notices, trouble }) {
  const run = byId('check-run');
  const result = byId('check-result');
  let busy = false;

  async function check() {
    if (busy) return;
    setBusy(true);
    notices.say('Checking…');
    try {
      draw(await ops.runLong('audit.run', { objects: byId('check-objects').checked }));
      notices.clear();
      result.querySelector('h3').focus();
    } catch (error) {
      notices.clear();
      trouble(error);
    } finally {
      setBusy(false);
    }
  }

  function setBusy(now) {
    busy = now;
    run.setAttribute('aria-disabled', String(now));
    setText(run, now ? 'Checking…' : 'Check now');
  }

  function draw(report) {
    const said = report.passed
      ? 'Everything holds'
      : `${count(report.violations.length, 'violation')} found`;
    const verdict = block(`${said}, checked at ${timeOfDay(new Date())}`, list(report));
    verdict.dataset.passed = String(report.passed);
    verdict.querySelector('h3').tabIndex = -1;
    result.replaceChildren(verdict, block('What was looked at', numbers(report)));
  }

  byId('check-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void check();
  });

  return { open: () => {} };
}

/** Each invariant once, the broken ones with what breaks them. */
function list({ violations }) {
  const names = new Set([...Object.keys(INVARIANTS), ...violations.map((each) => each.invariant)]);
  const lines = [...names].map((name) => {
    const broken = violations.filter((each) => each.invariant === name);
    const words = make('p', {}, make('strong', {}, broken.length ? 'Broken: ' : 'Holds: '));
    words.append(INVARIANTS[name] ?? plain(name));
    const line = make('li', { data: { broken: String(broken.length > 0) } }, words);
    if (broken.length) line.append(make('ul', {}, ...broken.map(violation)));
    return line;
  });
  return make('ul', { className: 'invariants' }, ...lines);
}

/** Accounts are named by e-mail addresses, jobs by their ids. */
function violation({ subject, problem }) {
  const named = subject.includes('@') ? make('span', {}, subject) : link(toJob(subject), subject);
  return make('li', {}, named, `: ${problem}`);
}

function numbers({ passed, violations, states, ...looked }) {
  const pairs = Object.entries(looked).filter(([, value]) => typeof value === 'number');
  return facts(pairs.map(([name, value]) => [plain(name), value.toLocaleString('en-GB')]));
}
