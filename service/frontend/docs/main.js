/** Shows the document at /openapi.json. Text goes in as text only; nothing here parses HTML. */

import { make } from '../designer/dom.js';
import { operationOf } from './operation.js';
import { schemaOf } from './schema.js';
import { securityOf } from './security.js';
import { slug, words } from './words.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
const at = (id) => document.getElementById(id);

async function show() {
  const answer = await fetch('/openapi.json');
  if (!answer.ok) throw new Error(`the document was answered ${answer.status}`);
  const whole = await answer.json();
  at('version').textContent = `Version ${whole.info.version}`;
  const sections = [
    section('About', null, [about(whole), securityOf(whole)]),
    ...whole.tags.map((tag) => group(whole, tag)),
    section('Schemas', 'The JSON that is sent and answered.', schemas(whole)),
  ];
  at('content').append(...sections.map((each) => each.node));
  at('contents-list').append(make('ul', {}, ...sections.map(entry)));
  // What was linked to is there only now.
  if (window.location.hash) document.getElementById(window.location.hash.slice(1))?.scrollIntoView();
}

function about(whole) {
  return make('p', {}, ...words(whole.info.description));
}

function group(whole, tag) {
  const operations = Object.entries(whole.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]?.tags.includes(tag.name)).map((method) =>
      operationOf(whole, method, path, methods[method]),
    ),
  );
  return section(tag.name, tag.description, operations);
}

function schemas(whole) {
  return Object.entries(whole.components.schemas).map(([name, schema]) => schemaOf(name, schema));
}

function section(title, description, nodes) {
  const id = slug(title);
  const head = make('h2', { id, tabIndex: -1 }, title);
  const said = description ? [make('p', {}, ...words(description))] : [];
  const node = make('section', { className: 'group' }, head, ...said, ...nodes);
  node.setAttribute('aria-labelledby', id);
  return { node, id, title, parts: nodes.filter((each) => each.id) };
}

function entry({ id, title, parts }) {
  const names = parts.map((part) =>
    make('li', {}, make('a', { href: `#${part.id}` }, part.dataset.title)),
  );
  const link = make('a', { href: `#${id}` }, title);
  return make('li', {}, link, ...(names.length ? [make('ul', {}, ...names)] : []));
}

function fitContents(wide) {
  at('contents').open = wide.matches;
}

const wide = window.matchMedia('(min-width: 60rem)');
wide.addEventListener('change', () => fitContents(wide));
fitContents(wide);

show()
  .catch((error) => {
    const trouble = at('trouble');
    trouble.textContent = `The document could not be shown: ${error.message}.`;
    trouble.hidden = false;
  })
  .finally(() => at('content').setAttribute('aria-busy', 'false'));
