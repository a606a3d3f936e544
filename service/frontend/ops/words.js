/** What the page says: facts of the service in an operator's words. */

export const STATES = [
  'reserved',
  'submitting',
  'submit_unknown',
  'submitted',
  'rendered',
  'ready',
  'failed',
  'cancelled',
];
export const FINAL = new Set(['ready', 'failed', 'cancelled']);

export const ACTIVITIES = {
  submitting: { title: 'Submitting', about: 'New jobs are sent to fal.' },
  finalising: { title: 'Finalising', about: 'Rendered videos are copied to the bucket.' },
};

const UNITS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
];

/** 3725 -> "1 h 2 min": the two largest units, which is what a glance can use. */
export function age(seconds) {
  const whole = Math.floor(seconds);
  const first = UNITS.findIndex(([size]) => whole >= size);
  if (first < 0) return '0 s';
  const [size, unit] = UNITS[first];
  const said = `${Math.floor(whole / size)} ${unit}`;
  const [smaller, smallerUnit] = UNITS[first + 1] ?? [];
  const rest = smaller && first < 2 ? Math.floor((whole % size) / smaller) : 0;
  return rest ? `${said} ${rest} ${smallerUnit}` : said;
}

export function moment(instant) {
  const options = { dateStyle: 'medium', timeStyle: 'medium' };
  return new Date(instant).toLocaleString('en-GB', options);
}

export function timeOfDay(date) {
  return date.toLocaleTimeString('en-GB');
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en-GB')} ${number === 1 ? one : many}`;
}

export const credits = (number) => count(number, 'credit');

export function bytes(number) {
  if (number < 1_000) return count(number, 'byte');
  const [size, unit] = number < 1_000_000 ? [1_000, 'kB'] : [1_000_000, 'MB'];
  return `${(number / size).toFixed(1)} ${unit} (${number.toLocaleString('en-GB')} bytes)`;
}

/** submit_unknown -> "submit unknown", pastRequests -> "past requests". */
export function plain(name) {
  if (name === 'sha256') return 'SHA-256';
  return name
    .replaceAll('_', ' ')
    .replaceAll(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase();
}

export function title(name) {
  const words = plain(name);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Long ids are told apart by how they begin. */
export function shortId(id) {
  return id.length > 30 ? `${id.slice(0, 12)}…` : id;
}

/** The service's own words as a sentence: "redriven" -> "Redriven." */
export function sentence(said) {
  return stopped(said.charAt(0).toUpperCase() + said.slice(1));
}

/** With a full stop at its end. */
export function stopped(said) {
  return /[.!?]$/.test(said) ? said : `${said}.`;
}

/** A value of unknown shape in a line. */
export function shown(value) {
  if (value === true) return 'yes';
  if (value === false) return 'no';
  if (typeof value === 'number') return value.toLocaleString('en-GB');
  if (Array.isArray(value)) return value.map(shown).join(', ');
  if (typeof value === 'object' && value !== null)
    return Object.values(value).map(shown).join(': ');
  return String(value);
}

export const UNKNOWN_END =
  'No answer came: it is not known whether this was done. Look again before you repeat it.';
