/** The one dialog of the page: what would happen, Back, and Confirm. */

import { byId, setText } from '../designer/dom.js';
import { isNoAnswer, isSignedOut } from './trouble.js';
import { UNKNOWN_END } from './words.js';

/**
 * `trouble` tells what goes wrong. `ask` opens the dialog:
 * - `title`, `about`, `fields` (nodes), `confirm` (the button's words), `danger`
 * - `check()`: whether the fields are right; it says what is not
 * - `act()`: does it, and throws what went wrong; the dialog stays open then
 * - `done(answer)`: once it is closed again
 * - `repeatable`: a second Confirm is safe when no answer came to the first
 */
export function createQuestion({ dialogs, notices, trouble, heading }) {
  const dialog = byId('question');
  const confirm = byId('question-confirm');
  let asked = null;
  let busy = false;

  function ask(question) {
    asked = { check: () => true, done: () => {}, fields: [], danger: false, ...question };
    notices.clear();
    setText(byId('question-title'), asked.title);
    setText(byId('question-about'), asked.about);
    byId('question-fields').replaceChildren(...asked.fields);
    setText(confirm, asked.confirm);
    confirm.className = asked.danger ? 'danger' : '';
    dialogs.show(dialog);
  }

  function close() {
    if (!dialog.open) return;
    dialogs.hide(dialog);
    // What asked may be gone by now; the focus is not to be lost with it.
    if (document.activeElement === document.body) heading().focus();
  }

  async function go() {
    const question = asked;
    if (busy || !question.check()) return;
    setBusy(true);
    try {
      const answer = await question.act();
      close();
      await question.done(answer);
    } catch (error) {
      tell(error, question);
    } finally {
      setBusy(false);
    }
  }

  function tell(error, question) {
    if (isSignedOut(error)) close();
    if (isNoAnswer(error)) notices.warn(question.unanswered ?? UNKNOWN_END);
    else trouble(error);
  }

  function setBusy(now) {
    busy = now;
    confirm.setAttribute('aria-disabled', String(now));
  }

  byId('question-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void go();
  });
  byId('question-back').addEventListener('click', close);
  dialogs.onEscape(dialog, close);
  return { ask, close };
}
