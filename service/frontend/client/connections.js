/**
 * How many connections may be held open. Over HTTP/1.1 a browser has six to a service, for all of
 * its tabs together: were every watch to hold one, the seventh tab would not even load. So few are
 * held, and a watch that gets none reads the status every few seconds instead.
 */

const HELD_MAX = 4;

// For where the browser has no locks (a page over plain http): this tab's own, at least.
let heldHere = 0;

/**
 * A connection that may be held until the function returned is called; null if there is none left.
 *
 * @returns {Promise<(() => void) | null>}
 */
export async function enter() {
  if (!isLimited()) return () => {};
  const { locks } = globalThis.navigator;
  return locks ? enterAmongTabs(locks) : enterHere();
}

/** @param {LockManager} locks */
async function enterAmongTabs(locks) {
  for (let number = 0; number < HELD_MAX; number += 1) {
    const leave = await lock(locks, `fal-video:connection:${number}`);
    if (leave) return leave;
  }
  return null;
}

/** @param {LockManager} locks @param {string} name @returns {Promise<(() => void) | null>} */
function lock(locks, name) {
  return new Promise((resolve) => {
    const held = locks.request(name, { ifAvailable: true }, (granted) => {
      if (!granted) return resolve(null);
      return new Promise((leave) => resolve(() => leave(undefined)));
    });
    held.catch(() => resolve(enterHere())); // a document without a right to locks
  });
}

function enterHere() {
  if (heldHere >= HELD_MAX) return null;
  heldHere += 1;
  return () => {
    heldHere -= 1;
  };
}

/** Only a browser shares connections so, and only where HTTP/2 does not carry them all in one. */
function isLimited() {
  if (!globalThis.document) return false;
  const [page] = globalThis.performance.getEntriesByType('navigation');
  const protocol = /** @type {PerformanceNavigationTiming | undefined} */ (page)?.nextHopProtocol;
  return protocol !== 'h2' && protocol !== 'h3';
}
