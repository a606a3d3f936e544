/** One operation: what it takes, what it answers, what it refuses, and how to ask for it. */

import { make } from '../designer/dom.js';
import { curlOf } from './curl.js';
import { aboutOf, fieldsOf, typeOf } from './schema.js';
import { callersOf } from './security.js';
import { resolved, slug, table, words } from './words.js';

export function operationOf(whole, method, path, operation) {
  const title = make(
    'h3', {},
    operation.summary,
    make('code', { className: 'address' },
      make('span', { className: `method ${method}` }, method.toUpperCase()), ` ${path}`),
  );
  const id = `do-${slug(operation.operationId)}`;
  const node = make('article', { id, className: 'operation', data: { title: operation.summary } }, title);
  if (operation.description) node.append(make('p', {}, ...words(operation.description)));
  node.append(make('p', { className: 'hint' }, callersOf(operation)));
  node.append(...taken(operation), ...answered(whole, operation));
  node.append(head('Example'), example(method, path, operation));
  return node;
}

function taken(operation) {
  const made = [];
  if (operation.parameters) {
    const rows = operation.parameters.map((each) => [
      [make('code', {}, each.name), ...(each.required ? [] : [make('span', { className: 'hint' }, ' optional')])],
      each.in,
      typeOf(each.schema),
      aboutOf(each.schema, each.description),
    ]);
    const heads = ['Parameter', 'In', 'Type', 'About'];
    made.push(head('Parameters'), table(`Parameters of ${operation.summary}`, heads, rows));
  }
  for (const [type, body] of Object.entries(operation.requestBody?.content ?? {})) {
    made.push(head('Body'), make('p', {}, make('code', {}, type), ' ', ...bodyType(body.schema)));
    if (body.schema.properties) made.push(fieldsOf(`the body of ${operation.summary}`, body.schema));
  }
  return made;
}

function bodyType(schema) {
  return schema.properties ? [] : typeOf(schema);
}

function answered(whole, operation) {
  const rows = Object.entries(operation.responses).map(([status, each]) => {
    const answer = resolved(whole, each);
    return [make('code', {}, status), [...said(answer)], headersOf(answer)];
  });
  const heads = ['Status', 'Answer', 'Headers'];
  return [head('Answers'), table(`Answers of ${operation.summary}`, heads, rows)];
}

/** A refusal's reasons are a line each; an answer's type is a link. */
function said(answer) {
  const types = Object.entries(answer.content ?? {});
  const refusal = types.some(([type]) => type === 'application/problem+json');
  if (refusal) return refusalLines(answer.description);
  const named = types.flatMap(([type, { schema }]) =>
    type === 'text/event-stream'
      ? [' ', make('code', {}, type), ' of ', ...typeOf(schema.properties.data.contentSchema)]
      : type === 'application/json' ? [' ', ...typeOf(schema)] : [' ', make('code', {}, type)]);
  return [...words(answer.description), ...named];
}

function refusalLines(description) {
  const lines = description.split(/ (?=`[a-z_]+`: )/);
  return lines.map((line) => make('div', { className: 'reason' }, ...words(line)));
}

function headersOf(answer) {
  const names = Object.keys(answer.headers ?? {});
  return names.flatMap((name, index) => [...(index ? [', '] : []), make('code', {}, name)]);
}

function example(method, path, operation) {
  const code = make('code', {}, curlOf(method, path, operation));
  const block = make('pre', { tabIndex: 0 }, code);
  block.setAttribute('role', 'region');
  block.setAttribute('aria-label', `Example of ${operation.summary}`);
  return block;
}

function head(text) {
  return make('h4', {}, text);
}
