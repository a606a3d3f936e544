/** Small helpers over the DOM. Text goes in as text only; nothing here parses HTML. */

/** The element with that id, which the page has: its absence is a bug. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page lacks #${id}`);
  return found;
}

/** A new element with properties, `data` attributes and children (strings become text). */
export function make(tag, { data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Words that only a screen reader says, so that ten buttons named "Play" can be told apart. */
export function unseen(text) {
  return make('span', { className: 'unseen' }, text);
}

/** Text is replaced only if it differs: a live region must not say the same thing twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** An address from the server, if it is one that a page may load; else null. */
export function webUrl(text) {
  if (!text) return null;
  try {
    const url = new URL(text, window.location.href);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}

export function prefersStillness() {
  return window.matchMedia('(prefers-reduced-motion: reduce)').matches;
}
