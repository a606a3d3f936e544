/** One delivery with its raw body, as fal sent it. */

import { byId, make, setText } from '../designer/dom.js';
import { toJob } from './address.js';
import { outcomeWords } from './deliveries.js';
import { block, button, code, facts, link, since } from './parts.js';
import { bytes, shortId } from './words.js';

export function createDelivery({ ops, moves, trouble }) {
  let shown = null; // its id
  let drawn = ''; // what is on the page, so that it is not made again for nothing

  async function open(params) {
    shown = params.get('delivery');
    drawn = '';
    setText(byId('delivery-title'), `Delivery ${shortId(shown)}`);
    setText(byId('delivery-lead'), 'Reading…');
    byId('delivery-actions').replaceChildren();
    byId('delivery-facts').replaceChildren();
    await refresh();
  }

  async function refresh() {
    const id = shown;
    try {
      const found = await ops.run('inbox.show', { id });
      if (id === shown) draw(found);
    } catch (error) {
      if (id === shown) missing(error);
    }
  }

  function missing(error) {
    if (error.code !== 'not_found') return trouble(error);
    setText(byId('delivery-lead'), `There is no delivery ${shown}.`);
  }

  function draw(found) {
    const now = JSON.stringify(found);
    if (now === drawn) return;
    drawn = now;
    setText(byId('delivery-lead'), outcomeWords(found));
    offer(found);
    byId('delivery-facts').replaceChildren(
      facts([
        ['Id', code(found.id)],
        ['Job', link(toJob(found.jobId), found.jobId)],
        ['Request', code(found.requestId)],
        ['Attempt', found.attempt],
        ['Received', since(found.receivedAt, ops.ageS)],
        ['Handled', found.handledAt ? since(found.handledAt, ops.ageS) : 'not yet'],
        ['Handling begun', `${found.attempts} times`],
        ['SHA-256', code(found.sha256)],
      ]),
      block('Body', ...bodyParts(found)),
    );
  }

  /** Made once, so that the focus stays on it; gone with what it is for. */
  function offer({ id, parked }) {
    const actions = byId('delivery-actions');
    const had = actions.contains(document.activeElement);
    if (!parked) actions.replaceChildren();
    else if (!actions.hasChildNodes()) {
      actions.append(button('Redrive…', () => void moves.redriveDelivery(id), 'primary'));
    }
    if (had && !parked) byId('delivery-title').focus();
  }

  return { open, refresh };
}

/** Pretty where it is JSON, as it came where it is text, base64 where it is neither. */
function bodyParts({ body, bodyBase64, bytes: size }) {
  if (size === 0) return [note('Empty: the body was removed, or never there.')];
  if (body === null || body === undefined) {
    return [note(`${bytes(size)}, not UTF-8; in base64:`), raw(bodyBase64)];
  }
  try {
    const pretty = JSON.stringify(JSON.parse(body), null, 2);
    return [note(`${bytes(size)}; JSON, indented here.`), raw(pretty)];
  } catch {
    return [note(`${bytes(size)}; no JSON, shown as it came.`), raw(body)];
  }
}

const note = (text) => make('p', { className: 'hint' }, text);

/** Long lines scroll, so the keyboard must reach it. */
function raw(text) {
  const shown = make('pre', { tabIndex: 0, className: 'raw' }, text);
  shown.setAttribute('role', 'region');
  shown.setAttribute('aria-label', 'Body');
  return shown;
}
