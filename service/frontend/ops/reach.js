/** Whether the service can be reached, and of when what the page shows is. */

import { byId, setText } from '../designer/dom.js';
import { timeOfDay } from './words.js';

const AGAIN = 'this page tries again by itself';

export function createReach() {
  const line = byId('as-of');
  let heardAt = null;
  let away = false;
  let notices = null;

  function draw() {
    line.hidden = heardAt === null;
    if (heardAt) setText(line, `as of ${timeOfDay(heardAt)}`);
    line.classList.toggle('old', away);
    notices.setOffline(away);
  }

  return {
    /** Said once for as long as it lasts. */
    words: () =>
      heardAt
        ? `The service cannot be reached. What you see is as of ${timeOfDay(heardAt)}; ${AGAIN}.`
        : `The service cannot be reached; ${AGAIN}.`,

    tellBy(given) {
      notices = given;
    },

    heard() {
      heardAt = new Date();
      away = false;
      draw();
    },

    lost() {
      away = true;
      draw();
    },
  };
}
