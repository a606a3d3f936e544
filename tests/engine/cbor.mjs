// The little CBOR (RFC 8949) that the host needs: it looks at a request's top-level keys and
// passes every value on as the bytes it came in, so nothing is lost in translation.

const TEXT = 3, ARRAY = 4, MAP = 5, TAG = 6;
const WIDTHS = { 24: 1, 25: 2, 26: 4, 27: 8 };

function head(bytes, at) {
  const major = bytes[at] >> 5, short = bytes[at] & 31, width = WIDTHS[short] ?? 0;
  if (short > 27) throw new Error('not of definite length');
  const value = width === 0 ? short : width === 8 ? Number(bytes.readBigUInt64BE(at + 1))
    : bytes.readUIntBE(at + 1, width);
  return { major, value, body: at + 1 + width };
}

/** The offset behind the item that starts at `at`. */
function end(bytes, at) {
  const { major, value, body } = head(bytes, at);
  let items = major === ARRAY ? value : major === MAP ? 2 * value : major === TAG ? 1 : 0;
  let next = major === TEXT - 1 || major === TEXT ? body + value : body;
  for (; items > 0; items--) next = end(bytes, next);
  return next;
}

export function readText(bytes) {
  const { major, value, body } = head(bytes, 0);
  if (major !== TEXT) throw new Error('not a text');
  return bytes.toString('utf8', body, body + value);
}

/** A map's values by key, each as its own bytes. */
export function readMap(bytes) {
  const { major, value, body } = head(bytes, 0);
  if (major !== MAP) throw new Error('not a map');
  const found = new Map();
  for (let left = value, at = body; left > 0; left--) {
    const middle = end(bytes, at), next = end(bytes, middle);
    found.set(readText(bytes.subarray(at, middle)), bytes.subarray(middle, next));
    at = next;
  }
  return found;
}

const start = (major, value) => value < 24 ? Buffer.from([(major << 5) | value])
  : Buffer.from([(major << 5) | 25, value >> 8, value & 255]);

export function text(string) {
  const body = Buffer.from(string);
  return Buffer.concat([start(TEXT, body.length), body]);
}

/** A map of keys to values that are CBOR already. */
export function map(entries) {
  const pairs = [...entries];
  return Buffer.concat([start(MAP, pairs.length), ...pairs.flatMap(([k, v]) => [text(k), v])]);
}

export const list = (...items) => Buffer.concat([start(ARRAY, items.length), ...items]);
export const negative = (value) => start(1, -1 - value);
