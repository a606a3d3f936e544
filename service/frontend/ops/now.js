/** What is now: parked work first, then the figures and the switches. */

import { setText } from '../designer/dom.js';
import { createOverview } from './overview.js';
import { createParked } from './parked.js';
import { createSwitches } from './switches.js';

export function createNow(shared) {
  const overview = createOverview(shared);
  const parked = createParked(shared);
  const switches = createSwitches(shared);
  const link = document.querySelector('#views [data-view="now"]');

  let counted = null; // what the overview says is parked

  return {
    open: shared.refresh,

    /** What every view shows of it is in the navigation. */
    draw(now) {
      overview.draw(now);
      switches.draw(now.pauses);
      counted = now.parked;
      const waiting = counted.jobs + counted.deliveries;
      setText(link, waiting ? `Now (${waiting} parked)` : 'Now');
    },

    /** The lists are read only while they are looked at. */
    refresh: () => parked.refresh(counted),
  };
}
