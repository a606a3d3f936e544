/**
 * Which orders are the same one: the same template, variables, choices and image.
 *
 * @typedef {import('../video-client.js').Order} Order
 */

/** The same object is the same image. @type {WeakMap<Blob, number>} */
const numbers = new WeakMap();
let images = 0;

/** A name that two orders share exactly when they are the same. @param {Order} order */
export function nameOf({ templateSlug, variables = {}, provider, duration, startImage }) {
  const sorted = Object.entries(variables).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([templateSlug, sorted, provider, duration, numberOf(startImage)]);
}

/** @param {Blob} image */
function numberOf(image) {
  const known = numbers.get(image);
  if (known) return known;
  images += 1;
  numbers.set(image, images);
  return images;
}
