/** The operator's way into the service: its operations by name, and the sign-in to them. */

import { Api } from '../client/api.js';

const ANSWER_MS = 20_000;
const LONG_ANSWER_MS = 15 * 60_000; // looking at every stored video takes as long as it takes

export function createOps() {
  const clock = createClock();
  const api = new Api({ baseUrl: '', token: null, fetch: clock.reading });

  function post(path, content, limitMs) {
    const headers = { 'Content-Type': 'application/json' };
    return api.json(path, { method: 'POST', headers, body: JSON.stringify(content) }, limitMs);
  }

  return {
    run: (name, given = {}) => post(`/ops/api/${name}`, given, ANSWER_MS),
    runLong: (name, given = {}) => post(`/ops/api/${name}`, given, LONG_ANSWER_MS),
    signIn: (token) => post('/ops/session', { token }, ANSWER_MS),
    signOut: () => api.json('/ops/session', { method: 'DELETE' }, ANSWER_MS),
    ageS: clock.ageS,
  };
}

/** The service's clock, as its answers tell it: this computer's own may be wrong. */
function createClock() {
  let aheadMs = 0;

  return {
    async reading(...call) {
      const answer = await fetch(...call);
      const told = Date.parse(answer.headers.get('date'));
      if (!Number.isNaN(told)) {
        const ahead = told - Date.now();
        // It tells whole seconds: less than that is no difference.
        aheadMs = Math.abs(ahead) < 2_000 ? 0 : ahead;
      }
      return answer;
    },

    /** How long ago the instant was. */
    ageS: (instant) => Math.max((Date.now() + aheadMs - Date.parse(instant)) / 1000, 0),
  };
}

/** An id for what must not happen twice. (`randomUUID` is missing where there is no TLS.) */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (each) => each.toString(16).padStart(2, '0')).join('');
}
