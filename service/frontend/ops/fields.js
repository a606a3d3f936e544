/** Fields of the forms: a label, a control, its hint and what is wrong with it. */

import { byId, make, setText } from '../designer/dom.js';
import { withAttributes } from './parts.js';

/** A field of the dialog. `control`: an input or a select, whose id names the field. */
export function field(label, control, hint = '') {
  const { id } = control;
  withAttributes(control, { 'aria-describedby': `${id}-hint ${id}-error` });
  return make(
    'div',
    { className: 'field' },
    make('label', { htmlFor: id }, label),
    control,
    make('p', { id: `${id}-error`, className: 'error', hidden: true }),
    make('p', { id: `${id}-hint`, className: 'hint', hidden: !hint }, hint),
  );
}

export function input(id, properties = {}) {
  return make('input', { id, type: 'text', autocomplete: 'off', spellcheck: false, ...properties });
}

export function select(id, options) {
  const made = make('select', { id });
  made.append(...options.map(([value, said]) => make('option', { value }, said)));
  return made;
}

/** Say what is wrong with a field, or nothing any more; the first wrong one gets the focus. */
export function tellMistakes(mistakes) {
  let first = null;
  for (const [id, problem] of Object.entries(mistakes)) {
    const control = byId(id);
    const line = byId(`${id}-error`);
    setText(line, problem ?? '');
    line.hidden = !problem;
    if (problem) {
      control.setAttribute('aria-invalid', 'true');
      first ??= control;
    } else {
      control.removeAttribute('aria-invalid');
    }
  }
  first?.focus();
  return first === null;
}
