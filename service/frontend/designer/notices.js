/** One status line and one alert for the whole page. A new message replaces the old one. */

import { byId, make, setText } from './dom.js';

const OFFLINE = 'You are offline. Your videos go on; this page catches up when you are back.';

/** `onward`: where work goes on once a message is dismissed; `offlineWords`: what is said then. */
export function createNotices({
  onward = () => byId('composer-title'),
  offlineWords = () => OFFLINE,
} = {}) {
  const notices = byId('notices');
  const home = notices.parentElement;
  const status = byId('status-text');
  const alert = byId('alert');

  function clear() {
    setText(status, '');
    alert.replaceChildren();
  }

  /** The button that is pressed goes too, so the focus goes on to where work goes on. */
  function leave() {
    clear();
    const next = notices.closest('dialog')?.querySelector('button:not([hidden])');
    (next ?? onward()).focus();
  }

  return {
    clear,

    /** Something went as it should. */
    say(text) {
      alert.replaceChildren();
      setText(status, text);
    },

    /** Something needs the person's attention. */
    warn(text) {
      setText(status, '');
      if (alert.firstChild?.textContent === text) return;
      const button = make('button', { type: 'button', textContent: 'Dismiss', onclick: leave });
      alert.replaceChildren(make('p', {}, text), button);
    },

    /**
     * While a dialog is open the rest of the page is inert, live regions too: they move into it,
     * and back when it closes. What they said before is over then.
     */
    moveInto(dialog) {
      const place = dialog ?? home;
      if (notices.parentElement === place) return;
      clear();
      place.append(notices);
    },

    setOffline(offline) {
      const line = byId('offline');
      line.hidden = !offline;
      setText(line, offline ? offlineWords() : '');
    },
  };
}
