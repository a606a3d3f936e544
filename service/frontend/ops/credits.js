/** An account's credits: the balance, the ledger, and what may be added by hand. */

import { byId, make, setText } from '../designer/dom.js';
import { toCredits, toView } from './address.js';
import { tellMistakes } from './fields.js';
import { ledgerTable } from './money.js';
import { block, button } from './parts.js';
import { timeOfDay } from './words.js';

const EMAIL = 'credits-email';
const SUMS = ['available', 'reserved', 'captured', 'granted'];

export function createCredits({ ops, go, money, trouble }) {
  const email = byId(EMAIL);
  const account = byId('account');
  let shown = null;
  let parts = null;

  async function open(params) {
    shown = params.get('credits') || null;
    email.value = shown ?? '';
    tellMistakes({ [EMAIL]: null });
    account.hidden = true;
    parts = null;
    if (shown) await refresh();
  }

  async function refresh() {
    const of = shown;
    if (!of) return;
    try {
      const found = await ops.run('credits.show', { email: of });
      if (of === shown) draw(found);
    } catch (error) {
      if (of !== shown) return;
      if (error.code === 'not_found') tellMistakes({ [EMAIL]: 'There is no such account.' });
      else trouble(error);
    }
  }

  function draw(found) {
    parts ??= frame();
    account.hidden = false;
    for (const name of SUMS) {
      parts.sums.get(name).parentElement.hidden = found[name] === undefined;
      setText(parts.sums.get(name), String(found[name]?.toLocaleString('en-GB') ?? ''));
    }
    setText(parts.note, `${shown}, read at ${timeOfDay(new Date())}.`);
    const entries = found.ledger ?? found.entries ?? [];
    parts.ledger.draw(entries);
    parts.ledger.node.hidden = entries.length === 0;
  }

  /** Made once for each account, so that a refresh leaves the focus where it is. */
  function frame() {
    const of = shown;
    const sums = new Map(SUMS.map((name) => [name, make('dd', {})]));
    const note = make('p', { className: 'lead', tabIndex: -1 });
    const ledger = ledgerTable('Latest ledger entries');
    const figures = SUMS.map((name) => make('div', {}, make('dt', {}, name), sums.get(name)));
    account.replaceChildren(
      note,
      make('dl', { className: 'figures sums' }, ...figures),
      make(
        'div',
        { className: 'actions' },
        button('Grant…', () => money.grant(of)),
        button('Refund…', () => money.refundAmount(of)),
        make(
          'a',
          { className: 'button', href: toView('jobs', { email: of }) },
          'Jobs of this account',
        ),
      ),
      block('Ledger', ledger.node),
    );
    return { sums, note, ledger };
  }

  byId('credits-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const said = email.value.trim();
    if (tellMistakes({ [EMAIL]: said.includes('@') ? null : 'Write an e-mail address.' })) {
      go(toCredits(said));
    }
  });

  return { open, refresh, results: () => parts?.note ?? email };
}
