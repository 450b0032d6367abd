// Compiles the files in memory and leads what the compiler says back to the dashboards.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

/** The files lie here for the compiler, beside types.ts, and nowhere on the drive. */
const FOLDER = fileURLToPath(new URL('.', import.meta.url));

const OPTIONS = {
  noEmit: true,
  strict: true,
  // The types of Grafana's packages ask for those of many others, which are not what is checked here.
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
};

/** The innermost message says which value is wrong; those above only wrap it. */
function innermost(message) {
  if (typeof message === 'string') return message;
  const next = message.next?.[0];
  return next ? innermost(next) : message.messageText;
}

export function compile(sources) {
  const files = new Map(sources.map((source, index) => [join(FOLDER, `dashboard${index}.ts`), source]));
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name)?.text ?? readFile(name);
  host.getSourceFile = (name, target, ...rest) => (files.has(name) ? ts.createSourceFile(name, files.get(name).text, target) : getSourceFile(name, target, ...rest));
  const program = ts.createProgram([...files.keys()], OPTIONS, host);

  const faults = sources.flatMap(({ file, faults: own }) => own.map((fault) => ({ file, ...fault })));
  for (const diagnostic of [...program.getOptionsDiagnostics(), ...program.getSyntacticDiagnostics(), ...program.getSemanticDiagnostics()]) {
    const source = diagnostic.file && files.get(diagnostic.file.fileName);
    const { line } = diagnostic.file ? diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start) : { line: 0 };
    faults.push({
      file: source?.file ?? diagnostic.file?.fileName ?? 'the compiler',
      path: source?.paths[line] || '.',
      message: innermost(diagnostic.messageText),
    });
  }
  return faults;
}
