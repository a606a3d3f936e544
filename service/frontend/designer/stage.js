/** Where a video plays: the provider's copy as soon as there is one, then our own. */

import { byId, prefersStillness, setText, webUrl } from './dom.js';
import { isPlayable } from './jobs.js';
import { jobAbout, jobTitle } from './words.js';

export function createStage({ store, actions }) {
  const video = byId('result-video');
  const download = byId('download');
  let playing = null; // which copy of which job the element holds
  let renewed = null; // the copy whose address was asked for anew already

  function draw(state) {
    const job = state.jobs.get(state.shown);
    const url = job && isPlayable(job) ? webUrl(job.url ?? job.previewUrl) : null;
    byId('stage-empty').hidden = Boolean(url);
    video.hidden = !url;
    byId('preview-note').hidden = !url || job.status === 'completed';
    drawWords(url ? job : null, state);
    if (url) load(job, url);
    else unload();
  }

  function drawWords(job, state) {
    const title = job ? jobTitle(job, state.templates) : '';
    setText(byId('stage-title'), job ? title : 'Preview');
    setText(byId('stage-caption'), job ? jobAbout(job, state.templates) : '');
    video.setAttribute('aria-label', title);
    const url = job?.status === 'completed' ? webUrl(job.url) : null;
    download.hidden = !url;
    if (url) download.href = url;
  }

  /** An address that is merely signed anew does not interrupt what plays. */
  function load(job, url) {
    const copy = `${job.jobId} ${job.status}`;
    if (playing === copy && renewed !== `${copy} asked`) return;
    const at = playing?.startsWith(`${job.jobId} `) ? video.currentTime : 0;
    const wasPaused = playing !== null && at > 0 && video.paused;
    playing = copy;
    if (renewed === `${copy} asked`) renewed = `${copy} done`;
    video.src = url;
    video.muted = true;
    if (at > 0) video.currentTime = at;
    if (!wasPaused && !prefersStillness()) void video.play().catch(() => {});
  }

  function unload() {
    if (playing === null) return;
    playing = null;
    video.pause();
    video.removeAttribute('src');
    video.load();
  }

  /** Its address may have ended since the page was opened: once, a fresh one. */
  video.addEventListener('error', async () => {
    const { shown } = store.get();
    if (!playing || !shown || renewed?.startsWith(playing)) return;
    const copy = playing;
    await actions.renew(shown);
    if (playing !== copy) return;
    renewed = `${copy} asked`;
    draw(store.get());
  });

  store.subscribe(draw);

  return {
    /** Show a video to somebody who asked for it: the focus, and the view, go there. */
    async play(jobId) {
      actions.show(jobId);
      await store.drawn();
      byId('stage-title').focus();
      if (video.paused) void video.play().catch(() => {});
    },
  };
}
