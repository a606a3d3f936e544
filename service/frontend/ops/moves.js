/** What an operator does to a job or a delivery: first what it would do, then Confirm. */

import { field, select } from './fields.js';
import { shortId, stopped } from './words.js';

const IF_FINISHED = 'cancel-if-finished';
const CHOICES = [
  ['keep', 'Keep it: its owner pays'],
  ['discard', 'Discard it: nobody pays'],
];
const NOTHING = 'nothing';

/** `changed(what)` is called after each of them, to show what is true now. */
export function createMoves({ ops, ask, notices, trouble, changed }) {
  /** Ask what it would do; a person is asked only about what would change something. */
  async function propose(operation, given, { name, ...question }) {
    notices.clear();
    const tell = (said) => notices.say(`${name}: ${stopped(said)}`);
    try {
      const { would, said } = await ops.run(operation, { ...given, dryRun: true });
      if (!would || would === NOTHING) return tell(said);
      ask({
        ...question,
        about: stopped(`${question.subject ?? 'This'} would ${would}`),
        act: () => ops.run(operation, { ...given, ...question.given?.() }),
        done: async (answer) => {
          tell(answer.said);
          await changed();
        },
      });
    } catch (error) {
      trouble(error);
    }
  }

  return {
    redriveJob: (id) =>
      propose(
        'jobs.redrive',
        { id },
        {
          name: `Job ${id}`,
          title: `Redrive job ${id}?`,
          subject: 'The job',
          confirm: 'Redrive it',
        },
      ),

    cancelJob(id, { parked }) {
      const choice = select(IF_FINISHED, CHOICES);
      return propose(
        'jobs.cancel',
        { id },
        {
          name: `Job ${id}`,
          title: `Cancel job ${id}?`,
          fields: parked ? [] : [field('If fal finishes it all the same', choice)],
          given: () => (parked ? {} : { ifFinished: choice.value }),
          confirm: 'Cancel it',
          danger: true,
        },
      );
    },

    redriveDelivery: (id) =>
      propose(
        'inbox.redrive',
        { id },
        {
          name: `Delivery ${shortId(id)}`,
          title: `Redrive delivery ${shortId(id)}?`,
          confirm: 'Redrive it',
        },
      ),
  };
}
