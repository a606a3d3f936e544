/** The order form: template, its variables, provider, duration, start image, price. */

import { byId, make, setText } from './dom.js';
import { megabytes } from './image-check.js';
import { createImageField } from './image-field.js';
import { credits, problemWords, seconds, variableTitle } from './words.js';

const TOO_FEW = 'Not enough for this one. Choose fewer seconds or another provider.';
const LONGEST_VALUE = 200; // characters; the service takes no more

const IMAGE_CODES = new Set(['too_large', 'unsupported_media_type']);

export function createComposer({ store, actions, dialogs }) {
  const template = byId('template');
  const provider = byId('provider');
  const duration = byId('duration');
  const animate = byId('animate');
  const fields = { templateSlug: template, provider, duration };
  const typed = new Map(); // variable name -> value, kept when the template changes
  const image = createImageField({
    onChange: () => {},
    blocked: () => dialogs.isOpen(),
    limits: () => store.get().imageLimits,
  });

  const templates = () => store.get().templates ?? [];
  const chosen = () => templates().find((each) => each.slug === template.value);
  const chosenProvider = () => chosen()?.providers.find((each) => each.name === provider.value);
  const price = () => chosenProvider()?.credits[duration.value] ?? null;

  function drawTemplates() {
    template.replaceChildren(...templates().map((each) => new Option(each.title, each.slug)));
    drawTemplate();
  }

  function drawTemplate() {
    const current = chosen();
    if (!current) return;
    byId('variables').replaceChildren(...current.variables.map(variableField));
    provider.replaceChildren(...current.providers.map((each) => new Option(each.title, each.name)));
    if (current.providers.some((each) => each.name === current.provider)) {
      provider.value = current.provider;
    }
    drawDurations(current.duration);
  }

  /** The same number of seconds if the provider can, else the nearest it can. */
  function drawDurations(wanted) {
    const offered = chosenProvider()?.durations ?? [];
    duration.replaceChildren(...offered.map((each) => new Option(seconds(each), String(each))));
    const nearest = offered.toSorted((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0];
    if (nearest !== undefined) duration.value = String(nearest);
    drawMoney();
  }

  function variableField(name) {
    const id = `variable-${name}`;
    const input = make('input', {
      id,
      type: 'text',
      maxLength: LONGEST_VALUE,
      autocomplete: 'off',
      value: typed.get(name) ?? '',
      oninput: () => {
        typed.set(name, input.value);
        tell(input, '');
      },
    });
    input.setAttribute('aria-describedby', `${id}-error`);
    const label = make('label', { htmlFor: id }, variableTitle(name));
    const error = make('p', { id: `${id}-error`, className: 'error', hidden: true });
    return make('div', { className: 'field' }, label, input, error);
  }

  function tell(control, problem) {
    if (control === image.input) return image.tell(problem);
    const error = byId(`${control.id}-error`);
    error.hidden = !problem;
    setText(error, problem);
    control.setAttribute('aria-invalid', String(Boolean(problem)));
  }

  function drawMoney() {
    const cost = price();
    const balance = store.get().credits;
    setText(byId('price'), cost === null ? '' : credits(cost));
    setText(byId('balance'), balance ? String(balance.available) : '');
    byId('balance-words').hidden = !balance || cost === null;
    const short = balance !== null && cost !== null && cost > balance.available;
    setText(byId('money-hint'), short ? TOO_FEW : heldWords(balance));
    byId('money-hint').classList.toggle('short', short);
  }

  /** Every control with what is wrong about it, in the order of the page. */
  function problems() {
    const found = [];
    if (!image.file()) {
      const said = byId('image-error').textContent;
      found.push([image.input, said || 'Choose the image that the video starts with.']);
    }
    for (const name of chosen()?.variables ?? []) {
      const input = byId(`variable-${name}`);
      if (!input.value.trim()) found.push([input, `Fill in “${variableTitle(name)}”.`]);
    }
    return found;
  }

  async function submit() {
    const { submitting, signedOut } = store.get();
    if (submitting || signedOut || !chosen()) return;
    const found = problems(); // read first: it repeats what was said of a refused image
    for (const control of controls()) tell(control, '');
    if (found.length) return point(found);
    try {
      await actions.order(order());
    } catch (error) {
      refused(error);
    }
  }

  function order() {
    const { slug, variables } = chosen();
    const values = variables.map((name) => [name, byId(`variable-${name}`).value.trim()]);
    return {
      templateSlug: slug,
      startImage: image.file(),
      variables: Object.fromEntries(values),
      provider: provider.value,
      duration: Number(duration.value),
    };
  }

  /** What the service found wrong stands at its field; the rest is for the alert. */
  function refused(error) {
    if (IMAGE_CODES.has(error.code)) return point([[image.input, problemWords(error)]]);
    const found = (error.errors ?? []).map(({ field, message }) => [controlOf(field), message]);
    if (!found.length || found.some(([control]) => !control)) return actions.problem(error);
    point(found.map(([control, message]) => [control, sentence(message)]));
  }

  function controlOf(field) {
    if (field === 'startImage') return image.input;
    if (field.startsWith('variables.')) {
      return document.getElementById(`variable-${field.slice('variables.'.length)}`);
    }
    return fields[field] ?? null;
  }

  function controls() {
    return [image.input, ...byId('variables').querySelectorAll('input'), ...Object.values(fields)];
  }

  function point(found) {
    for (const [control, problem] of found) tell(control, problem);
    found[0][0].focus();
  }

  template.addEventListener('change', drawTemplate);
  provider.addEventListener('change', () => drawDurations(Number(duration.value)));
  duration.addEventListener('change', drawMoney);
  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });

  let drawn = null;
  store.subscribe((state) => {
    if (state.templates !== drawn) {
      drawn = state.templates;
      drawTemplates();
      const limit = state.imageLimits?.maxBytes;
      setText(byId('image-limit'), limit ? `, up to ${megabytes(limit)} MB` : '');
    }
    animate.disabled = state.submitting || state.signedOut || !state.templates;
    setText(animate, state.submitting ? 'Sending…' : 'Animate');
    drawMoney();
  });
}

function heldWords(balance) {
  return balance?.reserved ? `${credits(balance.reserved)} more held for videos in progress.` : '';
}

/** "is missing" -> "This is missing.": the service names the field, the page shows it there. */
function sentence(message) {
  const text = /^(is|must|has)\b/.test(message) ? `This ${message}` : message;
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
