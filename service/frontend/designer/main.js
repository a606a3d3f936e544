/** The designer page: its parts, and what wakes it up. */

import { createVideoClient } from '../video-client.js';
import { createAccount } from './account.js';
import { createActions } from './actions.js';
import { createComposer } from './composer.js';
import { createDialogs } from './dialogs.js';
import { anyRunning, createLibrary } from './library.js';
import { createModal } from './modal.js';
import { createNotices } from './notices.js';
import { createStage } from './stage.js';
import { EMPTY, createStore } from './store.js';

const TICK_MS = 1_000; // estimates move on by the clock
const RETRY_MS = 5_000; // while not even the start has succeeded
const RENEW_MS = 20 * 60_000; // addresses of videos end after half an hour at the earliest

const client = createVideoClient({ log: console });
const store = createStore(EMPTY);
const notices = createNotices();
const dialogs = createDialogs(notices);
const actions = createActions({ client, store, notices });

createAccount({ store, retry: start });
createComposer({ store, actions, dialogs });
const { play } = createStage({ store, actions });
createLibrary({ store, actions, dialogs, play });
createModal({ store, actions, dialogs });

/** Read everything; then what the address names is opened. Tried again until it succeeds. */
async function start() {
  clearTimeout(again);
  const read = await actions.start();
  if (read) {
    if (failed) notices.clear();
    await openAddressed();
  } else if (!store.get().signedOut) {
    again = setTimeout(start, RETRY_MS);
  }
  failed = !read;
  return read;
}

function addressed() {
  return new URLSearchParams(window.location.hash.slice(1)).get('job');
}

async function openAddressed() {
  const jobId = addressed();
  const { opened, shown } = store.get();
  if (jobId && jobId !== opened && jobId !== shown) await actions.openNamed(jobId);
}

/** The address names what is looked at, so that a refresh comes back to it. */
function nameInAddress({ opened, shown, libraryRead }) {
  const jobId = opened ?? shown;
  if (!libraryRead) return;
  if (jobId === null && !named) return; // what the address asks for is not opened yet
  named = true;
  if (jobId === addressed()) return;
  const { pathname, search } = window.location;
  const hash = jobId ? `#job=${encodeURIComponent(jobId)}` : '';
  window.history.replaceState(null, '', pathname + search + hash);
}

function heardOfNetwork() {
  store.set({ offline: !navigator.onLine });
  notices.setOffline(!navigator.onLine);
  if (navigator.onLine) catchUp();
}

function catchUp() {
  void (store.get().templates && !store.get().signedOut ? actions.catchUp() : start());
}

/** A person who has signed in elsewhere finds the page signed in on coming back to it. */
function cameBack() {
  if (document.visibilityState === 'visible') catchUp();
}

window.addEventListener('hashchange', () => void openAddressed());
window.addEventListener('online', heardOfNetwork);
window.addEventListener('offline', heardOfNetwork);
document.addEventListener('visibilitychange', cameBack);
setInterval(() => {
  if (anyRunning(store.get())) store.set({});
}, TICK_MS);

let again; // the next attempt to start
let failed = false; // whether the last one failed
let named = false; // whether the address is this page's own

setInterval(catchUp, RENEW_MS);
store.subscribe(nameInAddress);
store.set({ offline: !navigator.onLine });
notices.setOffline(!navigator.onLine);
void start();
