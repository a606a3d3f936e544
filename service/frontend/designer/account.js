/** Who is signed in, and what to do when nobody is any more. */

import { byId, setText } from './dom.js';

export function createAccount({ store, retry }) {
  const panel = byId('signed-out');
  const button = byId('sign-in-retry');

  store.subscribe((state) => {
    setText(byId('account'), state.email ?? '');
    byId('account').hidden = !state.email;
    const appears = state.signedOut && panel.hidden;
    panel.hidden = !state.signedOut;
    // What was filled in stays; what could not even be read is not shown.
    const nothing = state.signedOut && !state.templates;
    byId('workbench').hidden = nothing;
    byId('library').hidden = nothing;
    // After everything is drawn: a dialog that closes gives the focus to what it covered.
    if (appears) void store.drawn().then(() => byId('signed-out-title').focus());
  });

  button.addEventListener('click', async () => {
    button.disabled = true;
    const signedIn = await retry();
    button.disabled = false;
    if (signedIn) byId('animate').focus();
    else button.focus();
  });
}
