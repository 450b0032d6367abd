// Checks the dashboards against the types that Grafana publishes: a misspelt option is no error in Grafana, which takes
// the default and says nothing.
//
// Each dashboard becomes a TypeScript file with its parts as literals, and the compiler compares them with the types of
// @grafana/schema. Lines of that file lead back to paths in the JSON.

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { compile } from './schema/compile.mjs';
import { unknownNames } from './schema/names.mjs';
import { sourceOf } from './schema/source.mjs';

/** Returns what is wrong, as { file, path, message }. */
export function check(dashboards) {
  const sources = dashboards.map(({ file, model }) => ({ file, ...sourceOf(model) }));
  const names = dashboards.flatMap(({ file, model }) => unknownNames(model).map((fault) => ({ file, ...fault })));
  return [...compile(sources), ...names];
}

function read(paths) {
  const files = paths.flatMap((path) => (path.endsWith('.json') ? [path] : readdirSync(path).filter((name) => name.endsWith('.json')).sort().map((name) => join(path, name))));
  return files.map((file) => ({ file, model: JSON.parse(readFileSync(file, 'utf8')) }));
}

function main() {
  const { positionals } = parseArgs({ allowPositionals: true });
  const paths = positionals.length > 0 ? positionals : [fileURLToPath(new URL('../../dashboards', import.meta.url))];
  const dashboards = read(paths.map((path) => resolve(path)));
  const faults = check(dashboards);
  for (const { file, path, message } of faults) console.error(`${file}: ${path}: ${message}`);
  console.log(`${dashboards.length} dashboards, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
