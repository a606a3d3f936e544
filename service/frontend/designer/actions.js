/** What a person can do. With news.js the only place that changes the state. */

import { canCancel, isPlayable, isRunning, justOrdered, learnt } from './jobs.js';
import { createNews } from './news.js';
import { createWatches } from './watches.js';
import { problemWords } from './words.js';

const PAGE = 12;

export function createActions({ client, store, notices }) {
  const news = createNews({ client, store, notices, afterEnd: () => readCredits().catch(quietly) });
  const { learn, show } = news;
  const watches = createWatches({
    client,
    store,
    onNews: learn,
    onEnd: (final) => void news.ended(final),
    onProblem: lost,
    look: () => void readLibrary().catch(quietly),
  });

  /** A watch that ended without its job: signed out, or the job is not there. */
  function lost(error, jobId) {
    if (error.code === 'not_found') news.forget(jobId);
    else problem(error);
  }

  function problem(error) {
    if (error.code === 'sign_in_required') signedOut();
    else notices.warn(problemWords(error));
  }

  /** For what nobody asked for: only a lost sign-in is worth a word. */
  function quietly(error) {
    if (error.code === 'sign_in_required') signedOut();
  }

  function signedOut() {
    watches.stop();
    notices.clear();
    store.set({ signedOut: true, opened: null });
  }

  async function readCredits() {
    store.set({ credits: await client.credits() });
  }

  /** The newest page, or the page after `cursor`; running jobs among it are watched on. */
  async function readLibrary(cursor = null) {
    const page = await client.library(cursor ? { cursor, limit: PAGE } : { limit: PAGE });
    const before = store.get();
    const items = page.items.filter((each) => !news.isForgotten(each.jobId));
    const further = cursor || !before.libraryRead ? { nextCursor: page.nextCursor } : {};
    store.set({ jobs: items.reduce(learnt, before.jobs), libraryRead: true, ...further });
    for (const item of items) {
      const known = before.jobs.get(item.jobId);
      // Also what was running when this page last heard of it: its end is still to be told.
      if (isRunning(item) || (known && isRunning(known))) watches.add(item.jobId);
    }
  }

  const actions = {
    problem,
    forgetFocus: () => store.set({ opened: null }),
    show,

    /** Read everything, and take up what is running. Answers whether the person is signed in. */
    async start() {
      try {
        const session = await client.session();
        if (store.get().email && store.get().email !== session.email) window.location.reload();
        store.set({ email: session.email, signedOut: false });
        const known = client.templates();
        const [{ templates, imageLimits }] = await Promise.all([
          known,
          readCredits(),
          readLibrary(),
        ]);
        store.set({ templates, imageLimits });
        for (const job of store.get().jobs.values()) if (isRunning(job)) watches.add(job.jobId);
        return true;
      } catch (error) {
        // While the browser is offline that is said already.
        if (error.code !== 'network' || !store.get().offline) problem(error);
        return false;
      }
    },

    /** Back from sleep, from being offline, from another tab. */
    async catchUp() {
      if (store.get().signedOut) return;
      await Promise.all([readLibrary(), readCredits()]).catch(quietly);
    },

    async more() {
      await readLibrary(store.get().nextCursor).catch(problem);
    },

    /** Order a video and wait for it. Throws what was wrong with the order. */
    async order(order) {
      notices.clear();
      store.set({ submitting: true });
      try {
        const receipt = await client.submit(order);
        const job = justOrdered(receipt, order, new Date());
        store.set({ jobs: learnt(store.get().jobs, job), submitting: false, opened: job.jobId });
        watches.add(job.jobId);
        watches.prefer(job.jobId);
      } finally {
        store.set({ submitting: false });
        void readCredits().catch(quietly);
      }
    },

    /** Look at a job: its progress while it runs, its video once there is one. */
    open(jobId) {
      const job = store.get().jobs.get(jobId);
      if (!job) return;
      notices.clear();
      if (isPlayable(job)) return show(jobId);
      if (isRunning(job)) {
        store.set({ opened: jobId });
        watches.prefer(jobId);
      } else {
        news.tellFailure(job);
      }
    },

    /** A job by its id alone, as an address names it. */
    async openNamed(jobId) {
      try {
        const job = await client.status(jobId);
        learn(job);
        if (isRunning(job)) watches.add(jobId);
        actions.open(jobId);
      } catch (error) {
        if (error.code !== 'not_found') problem(error);
        else notices.warn('The video of this address is not among yours.');
      }
    },

    async cancel(jobId, ifFinished) {
      const job = store.get().jobs.get(jobId);
      if (!job || !canCancel(job)) return;
      try {
        learn(await client.cancel(jobId, { ifFinished }));
      } catch (error) {
        if (error.code === 'too_late') {
          store.set({ tooLate: new Set(store.get().tooLate).add(jobId) });
        }
        problem(error);
      }
    },

    /** Delete a video for good; says whether it is gone. */
    async remove(jobId) {
      try {
        await client.remove(jobId);
      } catch (error) {
        if (error.code !== 'not_found') {
          problem(error);
          return false;
        }
      }
      news.forget(jobId);
      notices.say('Deleted.');
      return true;
    },

    /** The addresses of a job's files end after a while: fresh ones. */
    async renew(jobId) {
      await client.status(jobId).then(learn).catch(quietly);
    },
  };
  return actions;
}
