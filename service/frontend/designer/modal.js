/** The wait for one job, with two ways out of it. */

import { byId, setText } from './dom.js';
import { estimate } from './estimate.js';
import { canCancel } from './jobs.js';
import { cancelWords, fullProgressWords, jobAbout, jobTitle, priceWords } from './words.js';

export function createModal({ store, actions, dialogs }) {
  const progress = byId('progress-dialog');
  const question = byId('cancel-dialog');
  let last = null; // the job it was open for

  function draw(state) {
    const job = state.jobs.get(state.opened);
    if (!job) return leave(state);
    last = job.jobId;
    drawJob(job, state);
    if (!progress.open) {
      const animate = byId('animate');
      // Where the focus goes back to must be able to take it.
      if (document.activeElement === document.body) animate.focus();
      dialogs.show(progress);
    }
    if (question.open && !mayCancel(job, state)) dialogs.hide(question);
  }

  function drawJob(job, state) {
    const now = estimate(job);
    const about = [jobTitle(job, state.templates), jobAbout(job, state.templates)];
    setText(byId('progress-about'), about.join(', '));
    byId('progress-bar').value = now.percent;
    const made = state.tooLate.has(job.jobId) && !job.previewUrl;
    setText(byId('progress-text'), made ? 'Being saved' : fullProgressWords(job, now));
    byId('cancel-note').hidden = !job.ifFinished;
    setText(byId('cancel-note'), job.ifFinished ? cancelWords(job) : '');
    drawCancel(job, state);
  }

  function drawCancel(job, state) {
    const button = byId('cancel-video');
    const may = mayCancel(job, state);
    if (!may && document.activeElement === button) byId('background').focus();
    button.hidden = !may;
    setText(byId('cancel-keep'), `Cancel; if it finishes, keep it and pay ${priceWords(job)}`);
  }

  function leave(state) {
    if (!progress.open) return;
    dialogs.hide(question);
    dialogs.hide(progress);
    if (state.shown === last) byId('stage-title').focus();
  }

  async function cancel(ifFinished) {
    const jobId = store.get().opened;
    dialogs.hide(question);
    if (jobId) await actions.cancel(jobId, ifFinished);
  }

  byId('background').addEventListener('click', actions.forgetFocus);
  byId('cancel-video').addEventListener('click', () => dialogs.show(question));
  byId('cancel-keep').addEventListener('click', () => void cancel('keep'));
  byId('cancel-discard').addEventListener('click', () => void cancel('discard'));
  byId('cancel-back').addEventListener('click', () => dialogs.hide(question));
  dialogs.onEscape(progress, actions.forgetFocus);
  dialogs.onEscape(question, () => dialogs.hide(question));
  store.subscribe(draw);
}

function mayCancel(job, state) {
  return canCancel(job) && !state.tooLate.has(job.jobId);
}
