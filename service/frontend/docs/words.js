/** Words of the document as nodes, and what it refers to. */

import { make } from '../designer/dom.js';

/** Text with `code` in it. */
export function words(text) {
  return text
    .split('`')
    .map((part, index) => (index % 2 ? make('code', {}, part) : part))
    .filter((part) => part !== '');
}

/** A name for an address: letters, digits and hyphens. */
export function slug(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
}

/** The last word of a reference: a schema's or an answer's name. */
export function named(reference) {
  return reference.slice(reference.lastIndexOf('/') + 1);
}

/** What a reference stands for, or the thing itself. */
export function resolved(whole, thing) {
  if (!thing.$ref) return thing;
  return thing.$ref
    .slice(2)
    .split('/')
    .reduce((found, step) => found[step], whole);
}

/** A table with a caption for those who do not see the heading above it. */
export function table(caption, heads, rows) {
  const row = (cells) =>
    make('tr', {}, ...cells.map((cell, index) => {
      const made = make(index ? 'td' : 'th', {}, ...[cell].flat());
      if (!index) made.scope = 'row';
      made.dataset.head = heads[index];
      return made;
    }));
  const head = heads.map((text) => make('th', { scope: 'col' }, text));
  return make(
    'table', { className: slug(heads[0]) },
    make('caption', { className: 'unseen' }, caption),
    make('thead', {}, make('tr', {}, ...head)),
    make('tbody', {}, ...rows.map(row)),
  );
}
