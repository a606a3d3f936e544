/** How each kind of caller proves who it is. */

import { make } from '../designer/dom.js';
import { table, words } from './words.js';

const HOW = {
  bearer: 'bearer token',
  session: 'session cookie',
  falSignature: 'signature of fal',
  operator: 'operator token',
  operatorSession: 'operator cookie',
  monitor: 'metrics token',
};

export function securityOf(whole) {
  const rows = Object.entries(whole.components.securitySchemes).map(([name, scheme]) => [
    HOW[name] ?? name,
    make('code', {}, sentAs(scheme)),
    words(scheme.description ?? ''),
  ]);
  return table('Ways to sign in', ['Sign-in', 'Sent as', 'About'], rows);
}

/** Who may call an operation, in words. */
export function callersOf(operation) {
  const ways = operation.security.map((each) => Object.keys(each)[0]).map((name) => HOW[name] ?? name);
  if (!ways.length) return 'Needs no sign-in';
  return ways.includes(undefined)
    ? `Sign-in: ${ways.filter(Boolean).join(' or ')}, where one is asked for`
    : `Sign-in: ${ways.join(' or ')}`;
}

function sentAs(scheme) {
  if (scheme.type === 'http') return `Authorization: ${scheme.scheme}`;
  return scheme.in === 'cookie' ? `Cookie: ${scheme.name}` : scheme.name;
}
