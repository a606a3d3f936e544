/** One entry of the library. It is made once and then only changed, so that focus stays put. */

import { make, setText, unseen, webUrl } from './dom.js';
import { estimate } from './estimate.js';
import { isPlayable, isRunning } from './jobs.js';
import { cancelWords, credits, jobAbout, jobTitle, moment, progressWords } from './words.js';

export function createCard(jobId, { actions, askRemoval, play: playVideo }) {
  const names = [];
  const button = (text, act) => {
    const name = unseen('');
    names.push(name);
    return make('button', { type: 'button', onclick: act }, text, name);
  };
  const picture = make('img', { alt: '', loading: 'lazy', hidden: true });
  const blank = make('span', { className: 'blank' });
  const title = make('h3');
  const about = make('p', { className: 'hint' });
  const bar = make('progress', { max: 100 });
  const text = make('p', { className: 'state' });
  const open = button('Show progress', () => actions.open(jobId));
  const play = button('Play', () => playVideo(jobId));
  const save = make('a', { className: 'button', download: '' });
  const saveName = unseen('');
  save.append('Download', saveName);
  names.push(saveName);
  const remove = button('Delete', () => askRemoval(jobId));
  const frame = make('div', { className: 'thumb' }, picture, blank);
  const actionRow = make('div', { className: 'actions' }, open, play, save, remove);
  const words = make('div', { className: 'card-words' }, title, about, bar, text);
  const node = make('li', { className: 'card', data: { jobId } }, frame, words, actionRow);
  picture.addEventListener('error', () => {
    picture.hidden = true;
    blank.hidden = false;
  });

  function draw(job, templates) {
    const running = isRunning(job);
    const done = job.status === 'completed';
    node.dataset.status = job.status;
    setText(title, jobTitle(job, templates));
    setText(about, [jobAbout(job, templates), moment(job.createdAt)].filter(Boolean).join(' · '));
    const which = ` “${title.textContent}” of ${moment(job.createdAt)}`;
    for (const name of names) setText(name, which);
    drawState(job, running);
    drawPicture(webUrl(job.thumbnailUrl), job.status);
    open.hidden = !running || isPlayable(job);
    play.hidden = !isPlayable(job);
    save.hidden = !(done && webUrl(job.url));
    if (!save.hidden) save.href = webUrl(job.url);
    remove.hidden = running;
  }

  function drawState(job, running) {
    bar.hidden = !running;
    if (running) {
      const now = estimate(job);
      bar.value = now.percent;
      bar.setAttribute('aria-label', `Progress of “${title.textContent}”`);
      setText(text, job.ifFinished ? cancelWords(job) : progressWords(job, now));
    } else if (job.status === 'failed') {
      setText(text, job.error?.message ?? 'This video was not made.');
    } else {
      setText(text, `Cost ${credits(job.credits ?? job.price ?? 0)}`);
    }
  }

  function drawPicture(url, status) {
    setText(blank, { completed: '▶', failed: '×' }[status] ?? '…');
    blank.setAttribute('aria-hidden', 'true');
    if (!url || picture.dataset.shown === url.split('?')[0]) return;
    picture.dataset.shown = url.split('?')[0];
    picture.src = url;
    picture.hidden = false;
    blank.hidden = true;
  }

  return { node, draw };
}
