/**
 * Tables that stay where they are while they are read: a row is made once and then only changed,
 * so that the focus stays put. On a phone each row stands as a card; the roles are written out,
 * because a table that is laid out otherwise is no table to every screen reader.
 */

import { make, setText } from '../designer/dom.js';
import { withAttributes } from './parts.js';

/**
 * `columns`: {title, fill(cell, row), className}. `fill` is called again whenever the row is drawn.
 * `keyOf` names a row.
 */
export function createTable({ caption, columns, keyOf }) {
  const head = part('tr', 'row');
  for (const { title, className = '' } of columns) {
    head.append(part('th', 'columnheader', { className, scope: 'col' }, title));
  }
  const body = part('tbody', 'rowgroup');
  const node = part(
    'table',
    'table',
    {},
    make('caption', {}, caption),
    part('thead', 'rowgroup', {}, head),
    body,
  );
  const rows = new Map();

  function made(row) {
    const cells = columns.map(({ title, className = '' }) =>
      part('td', 'cell', { className, data: { label: title } }),
    );
    return part('tr', 'row', { data: { key: keyOf(row) } }, ...cells);
  }

  return {
    node,

    draw(given) {
      const keys = new Set(given.map(keyOf));
      for (const [key, line] of rows) {
        if (keys.has(key)) continue;
        line.remove();
        rows.delete(key);
      }
      given.forEach((row, index) => {
        const line = rows.get(keyOf(row)) ?? made(row);
        rows.set(keyOf(row), line);
        columns.forEach(({ fill }, at) => fill(line.children[at], row));
        const there = body.children[index];
        if (there !== line) body.insertBefore(line, there ?? null);
      });
    },
  };
}

function part(tag, role, properties = {}, ...children) {
  return withAttributes(make(tag, properties, ...children), { role });
}

/** A cell of text. */
export const text = (tell) => (cell, row) => setText(cell, String(tell(row) ?? ''));

/** A cell with one link, which keeps the focus it has. */
export const anchor = (tell) => (cell, row) => {
  const { href, text: said, className = '' } = tell(row);
  const there = cell.firstChild ?? make('a', { className });
  if (!there.parentElement) cell.append(there);
  if (there.getAttribute('href') !== href) there.href = href;
  setText(there, said);
};

/** A cell whose content is made anew when `tell` says something else than before. */
export const piece = (tell, build) => (cell, row) => {
  const now = JSON.stringify(tell(row));
  if (cell.dataset.shown === now) return;
  cell.dataset.shown = now;
  cell.replaceChildren(build(row));
};

/** A cell that is made once: buttons. */
export const fixed = (build) => (cell, row) => {
  if (!cell.hasChildNodes()) cell.append(...build(row));
};
