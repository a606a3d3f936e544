// What `surreal export` and `surreal import` do, on the folder of an engine that is not running.
//   node dump.mjs export|import rocksdb:///dir NAMESPACE DATABASE FILE
import { readFileSync, writeFileSync } from 'node:fs';
import { list, map, text } from './cbor.mjs';
import { nativeEngine } from './native.mjs';

const [what, path, namespace, database, file] = process.argv.slice(2);
const engine = await nativeEngine().connect(path);
await engine.execute(map([['id', text('1')], ['method', text('use')],
  ['params', list(text(namespace), text(database))]]));
if (what === 'export') writeFileSync(file, await engine.export(map([])));
else await engine.import(readFileSync(file, 'utf8'));
await engine.free();
