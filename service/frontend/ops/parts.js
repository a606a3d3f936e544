/** Pieces of the views: named facts, moments, badges. Text goes in as text only. */

import { make } from '../designer/dom.js';
import { age, moment, plain } from './words.js';

/** An element with attributes, which properties cannot set everywhere (`role`, `aria-…`). */
export function withAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** A list of names and values; what is not known is left out. A value may be a node. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  const rows = known.map(([name, value]) =>
    make('div', {}, make('dt', {}, name), make('dd', {}, value)),
  );
  return make('dl', { className: 'facts' }, ...rows);
}

export function link(href, text, className = '') {
  return make('a', { href, className }, text);
}

export function code(text) {
  return make('code', {}, text);
}

/** An instant for people here, exact for programs. */
export function instant(value) {
  return make('time', { dateTime: value, title: value }, moment(value));
}

/** An instant and how long ago it was. */
export function since(value, ageS) {
  return make('span', {}, instant(value), ` (${age(ageS(value))} ago)`);
}

/** A job's state; a parked one says so first. */
export function badge(state, parked = false) {
  const text = parked ? `parked, ${plain(state)}` : plain(state);
  return make('span', { className: 'badge', data: { state, parked: String(parked) } }, text);
}

/** A part of a page with a heading of its own. */
export function block(heading, ...children) {
  return make('section', { className: 'block' }, make('h3', {}, heading), ...children);
}

export function button(text, act, className = '') {
  return make('button', { type: 'button', className, onclick: act }, text);
}
