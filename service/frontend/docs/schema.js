/** Schemas: a type in a few words, and a table of an object's fields. */

import { make } from '../designer/dom.js';
import { named, slug, table, words } from './words.js';

/** A schema of its own, with an address. */
export function schemaOf(name, schema) {
  const title = make('h3', {}, make('code', {}, name));
  const id = schemaId(name);
  const node = make('article', { id, className: 'schema', data: { title: name } }, title);
  if (schema.description) node.append(make('p', {}, ...words(schema.description)));
  node.append(schema.properties ? fieldsOf(name, schema) : make('p', {}, ...typeOf(schema)));
  return node;
}

/** What a value is, as nodes: names of schemas are links. */
export function typeOf(schema) {
  if (schema.$ref) {
    const name = named(schema.$ref);
    return [make('a', { href: `#${schemaId(name)}` }, make('code', {}, name))];
  }
  if (schema.enum) return joined(schema.enum.map(literal), ', ');
  if ('const' in schema) return [literal(schema.const)];
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices) return joined(choices.map(typeOf), ' or ');
  if (schema.type === 'array') return ['list of ', ...typeOf(schema.items ?? {})];
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object') {
    return ['object, each value ', ...typeOf(schema.additionalProperties)];
  }
  return [[schema.type ?? 'anything', schema.format && `(${schema.format})`].filter(Boolean).join(' ')];
}

/** The limits of a value, in words. */
export function limitsOf(schema) {
  const all = [schema, ...(schema.anyOf ?? [])];
  const said = all.flatMap((each) => [
    'minimum' in each && `at least ${each.minimum}`,
    'maximum' in each && `at most ${each.maximum}`,
    'minLength' in each && `at least ${each.minLength} characters`,
    'maxLength' in each && `at most ${each.maxLength} characters`,
    'default' in each && each.default !== null && `else ${JSON.stringify(each.default)}`,
  ]);
  return said.filter(Boolean).join(', ');
}

/** A table of an object's fields. */
export function fieldsOf(name, schema) {
  const needed = schema.required ?? [];
  const rows = Object.entries(schema.properties).map(([field, each]) => [
    [make('code', {}, field), needed.includes(field) ? '' : make('span', { className: 'hint' }, ' optional')],
    typeOf(each),
    aboutOf(each),
  ]);
  return table(`Fields of ${name}`, ['Field', 'Type', 'About'], rows);
}

/** What is said of a value, and its limits. */
export function aboutOf(schema, description = schema.description) {
  const limits = limitsOf(schema);
  const said = description ? words(description) : [];
  if (!limits) return said;
  return [...said, make('span', { className: 'hint limits' }, `${said.length ? ' · ' : ''}${limits}`)];
}

function schemaId(name) {
  return `schema-${slug(name)}`;
}

function literal(value) {
  return [make('code', {}, JSON.stringify(value))];
}

function joined(parts, between) {
  return parts.flatMap((part, index) => (index ? [between, ...part] : part));
}
