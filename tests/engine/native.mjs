// The engine's class. The package keeps it behind the JavaScript SDK; its file is there.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export function nativeEngine() {
  const libc = process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
  const parts = [process.platform, process.arch, ...(process.platform === 'linux' ? [libc] : [])];
  const addon = new URL(`surrealdb-node.${parts.join('-')}.node`,
    import.meta.resolve('@surrealdb/node'));
  return createRequire(import.meta.url)(fileURLToPath(addon)).SurrealNodeEngine;
}
