/** The operator page: its parts, its views by address, and what keeps them fresh. */

import { createDialogs } from '../designer/dialogs.js';
import { byId, setText } from '../designer/dom.js';
import { createNotices } from '../designer/notices.js';
import { readAddress } from './address.js';
import { createOps } from './api.js';
import { createCheck } from './check.js';
import { createCredits } from './credits.js';
import { createDeliveries } from './deliveries.js';
import { createDelivery } from './delivery.js';
import { createJobs } from './jobs.js';
import { createMoney } from './money.js';
import { createMoves } from './moves.js';
import { createNow } from './now.js';
import { createQuestion } from './question.js';
import { createReach } from './reach.js';
import { createReceipt } from './receipt.js';
import { createSession } from './session.js';
import { createTrouble } from './trouble.js';

const REFRESH_MS = 5_000;
const IN_NAVIGATION = { job: 'jobs', delivery: 'deliveries' };

const ops = createOps();
const reach = createReach();
const notices = createNotices({ onward: heading, offlineWords: reach.words });
reach.tellBy(notices);
const dialogs = createDialogs(notices);
const session = createSession({
  ops,
  show: showAll,
  begin,
  clear() {
    close();
    notices.clear();
  },
  warn: notices.warn,
});
const trouble = createTrouble({ notices, session, reach });
const { ask, close } = createQuestion({ dialogs, notices, trouble, heading });
const moves = createMoves({ ops, ask, notices, trouble, changed: refresh });
const money = createMoney({ ops, ask, notices, changed: refresh });
const shared = { ops, ask, notices, trouble, moves, money, go, refresh };
const now = createNow(shared);
const views = {
  now,
  jobs: createJobs(shared),
  job: createReceipt(shared),
  deliveries: createDeliveries(shared),
  delivery: createDelivery(shared),
  credits: createCredits(shared),
  check: createCheck(shared),
};

let signedIn = false;
let view = 'now';
let timer; // of the next refresh

function go(address) {
  if (window.location.hash === address) void open({ moved: true });
  else window.location.hash = address;
}

function heading() {
  if (!signedIn) return byId('sign-in-title');
  return byId(view === 'now' ? 'parked-title' : `${view}-title`);
}

function showAll(may) {
  signedIn = may;
  byId('views').hidden = !may;
  byId('sign-out').hidden = !may;
  if (!may) byId('as-of').hidden = true;
  for (const name of Object.keys(views)) byId(name).hidden = !may || name !== view;
}

/** Show what the address names. Who went there finds the focus at its beginning. */
async function open({ moved }) {
  const address = readAddress();
  view = address.view;
  showAll(true);
  for (const link of document.querySelectorAll('#views a')) {
    const here = link.dataset.view === (IN_NAVIGATION[view] ?? view);
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (moved) {
    close();
    notices.clear();
  }
  const reading = views[view].open(address.params);
  setText(document.querySelector('title'), `${heading().textContent} · Operations`);
  if (moved || address.parked) heading().focus();
  await reading;
  // A list that was asked for in a form of this view is what comes next.
  if (moved && views[view].results && address.params.size > 1) views[view].results().focus();
}

/** Everything that moves by itself: the figures, and the view that is looked at. */
async function refresh() {
  clearTimeout(timer);
  try {
    now.draw(await ops.run('overview'));
    await views[view].refresh?.();
    reach.heard();
  } catch (error) {
    trouble(error);
  } finally {
    clearTimeout(timer);
    timer = setTimeout(tick, REFRESH_MS);
  }
}

/** Only while somebody can see it. */
function tick() {
  if (document.visibilityState === 'visible' && signedIn) void refresh();
}

/** After a sign-in, and when the page opens: the first answer tells whether one is needed. */
async function begin() {
  try {
    const overview = await ops.run('overview');
    const moved = !byId('sign-in').hidden;
    session.is();
    reach.heard();
    now.draw(overview);
    clearTimeout(timer);
    timer = setTimeout(tick, REFRESH_MS);
    await open({ moved });
  } catch (error) {
    trouble(error);
    if (!signedIn && byId('sign-in').hidden) timer = setTimeout(begin, REFRESH_MS);
  }
}

window.addEventListener('hashchange', () => {
  if (signedIn) void open({ moved: true });
});
document.addEventListener('visibilitychange', tick);
void begin();
