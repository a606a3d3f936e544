/** What the address names after its #: a view, and what is looked at in it. */

const VIEWS = ['now', 'jobs', 'job', 'deliveries', 'delivery', 'credits', 'check'];
const NEEDS_ID = new Set(['job', 'delivery']);

/** `#job=ID` -> {view: 'job', params}. `#parked` is a part of what is now. */
export function readAddress() {
  const params = new URLSearchParams(window.location.hash.slice(1));
  const [first] = params.keys();
  const view = VIEWS.includes(first) && (!NEEDS_ID.has(first) || params.get(first)) ? first : 'now';
  return { view, params, parked: first === 'parked' };
}

export const toJob = (id) => address('job', id);
export const toDelivery = (id) => address('delivery', id);
export const toCredits = (email) => address('credits', email);

/** An address of a view with what is not empty among `params`. */
export function toView(view, params = {}) {
  const parts = Object.entries(params).filter(([, value]) => value);
  const said = parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return `#${[view, ...said].join('&')}`;
}

function address(view, id) {
  return `#${view}=${encodeURIComponent(id)}`;
}
