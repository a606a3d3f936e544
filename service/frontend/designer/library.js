/** Every video of the person, newest first: made, in the making, or not made and why. */

import { createCard } from './card.js';
import { byId, setText } from './dom.js';
import { isRunning, newestFirst } from './jobs.js';
import { jobTitle, moment } from './words.js';

export function createLibrary({ store, actions, dialogs, play }) {
  const list = byId('library-list');
  const more = byId('show-more');
  const removal = byId('delete-dialog');
  const cards = new Map();
  let asked = null;

  function draw(state) {
    const jobs = newestFirst(state.jobs);
    const ids = new Set(jobs.map((job) => job.jobId));
    for (const [jobId, card] of cards) {
      if (!ids.has(jobId)) {
        card.node.remove();
        cards.delete(jobId);
      }
    }
    jobs.forEach((job, index) => place(job, index, state.templates));
    byId('library-empty').hidden = !state.libraryRead || jobs.length > 0;
    more.hidden = !state.nextCursor;
  }

  /** Nodes that stand right are not moved: that would take the focus from them. */
  function place(job, index, templates) {
    let card = cards.get(job.jobId);
    if (!card) {
      card = createCard(job.jobId, { actions, askRemoval, play });
      cards.set(job.jobId, card);
    }
    card.draw(job, templates);
    const there = list.children[index];
    if (there !== card.node) list.insertBefore(card.node, there ?? null);
  }

  function askRemoval(jobId) {
    const { jobs, templates } = store.get();
    const job = jobs.get(jobId);
    if (!job) return;
    asked = jobId;
    const name = `“${jobTitle(job, templates)}” of ${moment(job.createdAt)}`;
    const made = job.status === 'completed';
    setText(byId('delete-title'), made ? 'Delete this video?' : 'Delete this entry?');
    setText(
      byId('delete-about'),
      made
        ? `${name} and its file are deleted for good. The credits it cost do not come back.`
        : `${name} disappears from your videos. It cost nothing.`,
    );
    dialogs.show(removal);
  }

  /** The focus goes to what has taken the place of the deleted one. */
  async function remove() {
    const node = cards.get(asked)?.node;
    const next = node?.nextElementSibling ?? node?.previousElementSibling;
    dialogs.hide(removal);
    if (await actions.remove(asked)) {
      const target = next?.querySelector('button:not([hidden])') ?? byId('library-title');
      target.focus();
    }
  }

  async function showMore() {
    const before = list.children.length;
    more.disabled = true;
    await actions.more();
    more.disabled = false;
    list.children[before]?.querySelector('button:not([hidden])')?.focus();
  }

  more.addEventListener('click', () => void showMore());
  byId('delete-confirm').addEventListener('click', () => void remove());
  byId('delete-back').addEventListener('click', () => dialogs.hide(removal));
  dialogs.onEscape(removal, () => dialogs.hide(removal));
  store.subscribe(draw);
}

/** Whether anything moves by the clock alone. */
export function anyRunning(state) {
  return [...state.jobs.values()].some(isRunning);
}
