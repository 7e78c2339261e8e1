import { describe, expect, it } from 'vitest';
import { importsOf, type SourceFile } from './imports.ts';
import { findBreaches } from './rules.ts';

describe('importsOf', () => {
  it('finds every form of import, with its kind and line', () => {
    const text = [
      "/** import { no } from './comment.ts'; */",
      "import { a } from './a.ts';",
      "import type { B } from './b.ts';",
      'import {',
      '  c,',
      '  type D,',
      "} from '../c.ts';",
      "import './e.ts';",
      "export * from './f.ts';",
      "export type { G } from './g.ts';",
      "const h = await import('./h.ts'); // import('./no.ts')",
      "const worker = new Worker(new URL('./worker.ts', import.meta.url));",
      "const words = 'import x from';",
      "/* import './no.ts'",
      "import './no.ts' */",
      "import fs from 'node:fs';",
    ].join('\n');
    expect(importsOf(text).map(({ specifier, kind, line }) => `${line} ${kind} ${specifier}`)).toEqual([
      '2 value ./a.ts',
      '3 type ./b.ts',
      '7 value ../c.ts',
      '8 value ./e.ts',
      '9 value ./f.ts',
      '10 type ./g.ts',
      '11 later ./h.ts',
      '12 later ./worker.ts',
      '16 value node:fs',
    ]);
  });
});

/** Files from lines "path: import, import". */
function house(files: Readonly<Record<string, string>>): readonly SourceFile[] {
  return Object.entries(files).map(([path, text]) => ({ path, imports: importsOf(text) }));
}

const messages = (files: Readonly<Record<string, string>>) =>
  findBreaches(house(files)).map(({ path, line, message }) => `${path}:${line}: ${message}`);

describe('findBreaches', () => {
  it('lets imports go down, stay, and leave for packages', () => {
    expect(
      messages({
        'src/base/errors.ts': "import { readFileSync } from 'node:fs';",
        'src/ffi/native.ts': "import koffi from 'koffi';\nimport { e } from '../base/errors.ts';",
        'src/cli/main.ts': "import { x } from '../base/errors.ts';\nimport { y } from './run.ts';",
        'src/cli/run.ts': '',
        'src/index.ts': "export * from './cli/run.ts';",
      }),
    ).toEqual([]);
  });

  it('finds imports upward, of any kind', () => {
    expect(messages({ 'src/base/a.ts': "import { x } from '../cli/main.ts';" })).toEqual([
      'src/base/a.ts:1: imports upward: base may not know cli (src/cli/main.ts)',
    ]);
    expect(messages({ 'src/ops/add/op.ts': "import type { X } from '../../model/gpt.ts';" })[0]).toContain(
      'ops may not know model',
    );
    expect(messages({ 'src/ops/a.ts': "const x = import('../train/loop.ts');" })[0]).toContain(
      'ops may not know train',
    );
    expect(messages({ 'src/cli/a.ts': "import '../index.ts';" })[0]).toContain('above every floor');
  });

  it('keeps data and checkpoints free of tensors, though they stand above them', () => {
    expect(messages({ 'src/data/a.ts': "import { T } from '../tensor/tensor.ts';" })[0]).toContain(
      'must work without tensors',
    );
    expect(messages({ 'src/checkpoint/a.ts': "import { o } from '../ops/add/op.ts';" })[0]).toContain(
      'without tensors',
    );
    expect(messages({ 'src/checkpoint/a.ts': "import { d } from '../data/npy.ts';" })).toEqual([]);
  });

  it('lets only src/ffi import koffi', () => {
    expect(messages({ 'src/tensor/a.ts': "import koffi from 'koffi';" })[0]).toContain('only src/ffi imports koffi');
    expect(messages({ 'src/tensor/a.test.ts': "import koffi from 'koffi';" })).toHaveLength(1);
  });

  it('lets tests look anywhere, and nobody look at tests', () => {
    expect(messages({ 'src/base/a.test.ts': "import { x } from '../cli/main.ts';" })).toEqual([]);
    expect(messages({ 'src/base/a.ts': "import { x } from './b.test.ts';" })[0]).toContain(
      'imports the test src/base/b.test.ts',
    );
    expect(messages({ 'src/base/a.ts': "import { x } from '../../test/help.ts';" })[0]).toContain('imports the test');
    expect(messages({ 'src/base/a.ts': "import { x } from '../../bench/main.ts';" })[0]).toContain(
      'not part of the published package',
    );
  });

  it('finds cycles of values, and lets types and later imports close them', () => {
    const cycle = (statement: string) =>
      messages({
        'src/base/a.ts': "import { b } from './b.ts';",
        'src/base/b.ts': "\nimport { c } from './c.ts';",
        'src/base/c.ts': statement,
      });
    expect(cycle("import { a } from './a.ts';")).toEqual([
      'src/base/c.ts:1: closes a cycle: src/base/a.ts → src/base/b.ts → src/base/c.ts → src/base/a.ts',
    ]);
    expect(cycle("import { c } from './c.ts';")[0]).toContain('src/base/c.ts → src/base/c.ts');
    expect(cycle("import type { A } from './a.ts';")).toEqual([]);
    expect(cycle("const a = () => import('./a.ts');")).toEqual([]);
  });

  it('asks for the place of a new folder, once', () => {
    expect(messages({ 'src/attic/a.ts': '', 'src/attic/b.ts': '' })).toEqual([
      'src/attic/a.ts:1: src/attic is no floor: give it a place in scripts/floors/rules.ts',
    ]);
  });
});
