/** Signing in with the operator's token, and out. */

import { byId, setText } from '../designer/dom.js';
import { tellMistakes } from './fields.js';
import { isSignedOut, problemWords } from './trouble.js';

const SIGNED_OUT = 'You are signed out.';
const ENDED = 'Your sign-in has ended. Sign in again; you come back to where you were.';

/** `show(signedIn)` shows the views or hides them; `begin` goes on where the address says. */
export function createSession({ ops, show, begin, clear, warn }) {
  const panel = byId('sign-in');
  const token = byId('token');
  let known = false; // whether there was a sign-in before

  function ask(why) {
    clear();
    show(false);
    setText(byId('sign-in-why'), why);
    byId('sign-in-why').hidden = !why;
    tellMistakes({ token: null });
    const appears = panel.hidden;
    panel.hidden = false;
    if (appears) token.focus();
  }

  async function signIn() {
    if (!token.value) return void tellMistakes({ token: 'Enter the token.' });
    try {
      await ops.signIn(token.value);
    } catch (error) {
      return void tellMistakes({ token: mistake(error) });
    }
    tellMistakes({ token: null });
    token.value = '';
    await begin();
  }

  async function signOut() {
    try {
      await ops.signOut();
    } catch (error) {
      if (!isSignedOut(error)) return warn(`You are still signed in. ${problemWords(error)}`);
    }
    known = false;
    ask(SIGNED_OUT);
  }

  byId('sign-in-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void signIn();
  });
  byId('sign-out').addEventListener('click', () => void signOut());

  return {
    /** An answer came that only who is signed in gets. */
    is() {
      known = true;
      panel.hidden = true;
      show(true);
    },
    ended: () => ask(known ? ENDED : ''),
  };
}

function mistake(error) {
  if (isSignedOut(error)) return 'This is not the token.';
  if (error.status === 429) {
    const wait = Math.ceil((error.retryAfterMs ?? 60_000) / 1000);
    return `Too many attempts. Try again in ${wait} s.`;
  }
  if (error.status === 404) return 'This service has no operator page: OPS_TOKEN is not set.';
  return error.message;
}
