/** What went wrong with a request, and who tells it: once, in one place. */

import { NETWORK, SIGN_IN, TIMEOUT } from '../client/errors.js';

export const isSignedOut = (error) => error.code === SIGN_IN;

/** Whether it is not known what became of the request. */
export const isNoAnswer = (error) => error.code === NETWORK || error.code === TIMEOUT;

/** Also a proxy's own page in place of the service, which knows nothing about it. */
const isAway = (error) => isNoAnswer(error) || (error.status >= 500 && !error.fromService);

/** `session.ended()` shows the sign-in; `reach.lost()` says that the service is away. */
export function createTrouble({ notices, session, reach }) {
  return (error) => {
    if (isSignedOut(error)) session.ended();
    else if (isAway(error)) reach.lost();
    else notices.warn(problemWords(error));
  };
}

export function problemWords(error) {
  const fields = (error.errors ?? []).map(({ field, message, problem, fix }) =>
    [field, message ?? problem ?? fix].filter(Boolean).join(': '),
  );
  return fields.length ? `${error.message} ${fields.join('; ')}.` : error.message;
}
