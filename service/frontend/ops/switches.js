/** The breaker switches: what the whole service leaves alone until it is let go on. */

import { byId, make, setText } from '../designer/dom.js';
import { field, input, tellMistakes } from './fields.js';
import { button } from './parts.js';
import { ACTIVITIES, age, count, sentence } from './words.js';

const REASON = 'pause-reason';

export function createSwitches({ ops, ask, notices, refresh }) {
  const lines = new Map();
  let pauses = new Map();

  function line(activity) {
    const { title } = ACTIVITIES[activity];
    const parts = {
      state: make('p', { className: 'switch-state' }),
      about: make('p', {}),
      pause: button(`Pause ${title.toLowerCase()}…`, () => pause(activity)),
      resume: button(`Resume ${title.toLowerCase()}…`, () => resume(activity)),
    };
    const words = make('div', {}, make('h3', {}, title), parts.state, parts.about);
    parts.node = make('li', {}, words, parts.pause, parts.resume);
    byId('switches').append(parts.node);
    return parts;
  }

  function draw(activity, paused) {
    if (!lines.has(activity)) lines.set(activity, line(activity));
    const { node, state, about, pause: stop, resume: go } = lines.get(activity);
    node.dataset.paused = String(Boolean(paused));
    const who = paused?.manual ? 'by hand' : 'by the service itself';
    setText(state, paused ? `Paused ${who} for ${age(ops.ageS(paused.since))}` : 'Running');
    setText(about, paused ? pauseWords(paused) : ACTIVITIES[activity].about);
    // The one that had the focus may be the one that goes.
    const had = node.contains(document.activeElement);
    stop.hidden = Boolean(paused?.manual);
    go.hidden = !paused;
    if (had && document.activeElement.hidden) (go.hidden ? stop : go).focus();
  }

  function pause(activity) {
    const { title, about } = ACTIVITIES[activity];
    const reason = input(REASON, { maxLength: 200 });
    ask({
      title: `Pause ${title.toLowerCase()}?`,
      about:
        `${about} This would stop until somebody resumes it. ` +
        'Orders are still accepted, and wait; nothing is lost.',
      fields: [field('Reason', reason, 'Whoever looks at this page reads it.')],
      confirm: `Pause ${title.toLowerCase()}`,
      check: () =>
        tellMistakes({ [REASON]: reason.value.trim() ? null : 'Say why, for whoever comes next.' }),
      act: () => ops.run('pauses.pause', { activity, reason: reason.value.trim() }),
      done: (answer) => done(activity, answer),
    });
  }

  function resume(activity) {
    const { title } = ACTIVITIES[activity];
    const paused = pauses.get(activity);
    ask({
      title: `Resume ${title.toLowerCase()}?`,
      about:
        `The reason of the pause: ${paused?.reason ?? 'not known'}. ` +
        'This would let everything that waits for it go on.',
      confirm: `Resume ${title.toLowerCase()}`,
      act: () => ops.run('pauses.resume', { activity }),
      done: (answer) => done(activity, answer),
    });
  }

  async function done(activity, answer) {
    notices.say(sentence(answer.said));
    await refresh();
    const { pause: stop, resume: go } = lines.get(activity);
    (go.hidden ? stop : go).focus();
  }

  return {
    draw(given) {
      pauses = new Map(given.map((each) => [each.activity, each]));
      for (const activity of Object.keys(ACTIVITIES)) draw(activity, pauses.get(activity));
    },
  };
}

function pauseWords({ reason, failures, manual, until }) {
  if (manual) return reason;
  const failed = failures ? ` ${count(failures, 'failure')} so far.` : '';
  const next = until
    ? ` The service tries again at ${new Date(until).toLocaleTimeString('en-GB')}.`
    : '';
  return `${reason}.${failed}${next}`;
}
