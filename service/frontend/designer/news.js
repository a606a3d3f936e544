/** What the page does when it hears of a job: of its progress, its end, its disappearance. */

import { learnt } from './jobs.js';
import { credits, jobTitle } from './words.js';

// A poster is made after the video is delivered; it is asked for a few times, then left.
const POSTER_AFTER_MS = [1_500, 5_000, 15_000];

export function createNews({ client, store, notices, afterEnd }) {
  const removed = new Set();
  const posterTimers = new Map();

  function learn(news) {
    if (removed.has(news.jobId)) return;
    store.set({ jobs: learnt(store.get().jobs, news) });
    // From the provider's video on there is nothing to wait for, nor to cancel.
    if (news.previewUrl && store.get().opened === news.jobId) show(news.jobId);
  }

  /** A job's end, once: its video is shown to whoever waits for it, its reason told. */
  async function ended(final) {
    learn(final);
    void afterEnd();
    const { jobs, opened, shown } = store.get();
    const job = jobs.get(final.jobId);
    if (!job) return;
    const awaited = opened === job.jobId || shown === job.jobId;
    if (opened === job.jobId) store.set({ opened: null });
    if (job.status === 'completed' && (awaited || shown === null)) store.set({ shown: job.jobId });
    await store.drawn(); // a dialog that closes takes its messages along
    if (job.status === 'completed') {
      const title = jobTitle(job, store.get().templates);
      const cost = credits(job.credits ?? job.price);
      notices.say(`“${title}” is saved in your videos. It cost ${cost}.`);
      awaitPoster(job, 0);
    } else {
      tellFailure(job);
    }
  }

  function tellFailure(job) {
    const { shown, templates } = store.get();
    if (shown === job.jobId) store.set({ shown: null });
    const reason = job.error?.message ?? '';
    if (job.error?.code === 'cancelled') notices.say(reason);
    else notices.warn(`“${jobTitle(job, templates)}” was not made. ${reason}`);
  }

  function awaitPoster(job, attempt) {
    if (job.thumbnailUrl || attempt >= POSTER_AFTER_MS.length) return;
    const timer = setTimeout(async () => {
      const news = await client.status(job.jobId).catch(() => job);
      learn(news);
      awaitPoster(news, attempt + 1);
    }, POSTER_AFTER_MS[attempt]);
    posterTimers.set(job.jobId, timer);
  }

  function forget(jobId) {
    removed.add(jobId);
    clearTimeout(posterTimers.get(jobId));
    const { jobs, opened, shown } = store.get();
    const left = new Map(jobs);
    left.delete(jobId);
    store.set({
      jobs: left,
      opened: opened === jobId ? null : opened,
      shown: shown === jobId ? null : shown,
    });
  }

  function show(jobId) {
    notices.clear();
    store.set({ shown: jobId, opened: null });
  }

  return { learn, ended, tellFailure, forget, show, isForgotten: (jobId) => removed.has(jobId) };
}
