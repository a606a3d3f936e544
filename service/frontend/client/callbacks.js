/**
 * Calls a callback. What it throws is its author's to see, and no reason to stop anything here.
 *
 * @template T
 * @param {((value: T) => unknown) | undefined} callback
 * @param {T} value
 */
export async function call(callback, value) {
  try {
    await callback?.(value);
  } catch (error) {
    report(error);
  }
}

/** @param {unknown} error */
function report(error) {
  if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
  else console.error(error);
}
