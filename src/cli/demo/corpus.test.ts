import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CorpusLimits, collectCorpus } from './corpus.ts';
import { findTextFiles, packageFolders } from './text-files.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'megatron-corpus-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(name: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), content);
}

/** Lines that no other seed has. */
const lines = (seed: string, count: number): string =>
  Array.from({ length: count }, (_, i) => `export declare const ${seed}Number${i}: Value${i * 7};`).join('\n');

const wide: CorpusLimits = { totalBytes: 1e6, fileBytes: 1e5, validBytes: 0, testBytes: 0 };
const names = (documents: readonly { name: string }[]): string[] => documents.map(({ name }) => name).sort();
const collect = (limits = wide) => collectCorpus(findTextFiles([join(root, 'node_modules')]), limits);

describe('packageFolders', () => {
  it('finds the packages of a clone, and those beside an installed package', () => {
    const clone = join('/home', 'me', 'clone');
    expect(packageFolders(clone)).toEqual([join(clone, 'node_modules')]);
    const installed = join('/app', 'node_modules', 'megatron-ts');
    expect(packageFolders(installed)).toEqual([join(installed, 'node_modules'), join('/app', 'node_modules')]);
    expect(packageFolders(join('/app', 'node_modules', '@fork', 'megatron-ts'))).toContain(
      join('/app', 'node_modules'),
    );
  });

  it('finds this package itself by default', () => {
    expect(findTextFiles(packageFolders()).some(({ name }) => name.startsWith('zod/'))).toBe(true);
  });
});

describe('findTextFiles', () => {
  it('takes declarations and Markdown, follows links once, and passes over caches and other files', () => {
    for (const name of [
      'a/index.d.ts',
      'a/x.d.mts',
      '@s/b/y.d.cts',
      'c/README.md',
      'c/index.js',
      '.cache/z.d.ts',
      'c/CHANGELOG.md',
      'c/README.fr.md',
    ]) {
      put(`node_modules/${name}`, 'text');
    }
    symlinkSync(join(root, 'node_modules'), join(root, 'node_modules', 'a', 'cycle'));
    put('store/linked/index.d.ts', 'text');
    symlinkSync(join(root, 'store', 'linked'), join(root, 'node_modules', 'linked'));
    const found = findTextFiles([join(root, 'node_modules'), join(root, 'missing')]);
    expect(names(found)).toEqual(['@s/b/y.d.cts', 'a/index.d.ts', 'a/x.d.mts', 'c/README.md', 'linked/index.d.ts']);
    expect(found.find(({ name }) => name === 'c/README.md')?.kind).toBe('Markdown');
  });

  it('gives an order that depends on the names alone', () => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) put(`node_modules/${name}/index.d.ts`, 'text');
    const here = findTextFiles([join(root, 'node_modules')]).map(({ name }) => name);
    for (const name of ['f', 'e', 'd', 'c', 'b', 'a']) put(`elsewhere/node_modules/${name}/index.d.ts`, 'text');
    expect(findTextFiles([join(root, 'elsewhere', 'node_modules')]).map(({ name }) => name)).toEqual(here);
    expect(here).not.toEqual([...here].sort());
  });
});

describe('collectCorpus', () => {
  it('leaves out what repeats another file, wholly or for the most part', async () => {
    put('node_modules/a/index.d.ts', lines('a', 100));
    put('node_modules/a/index.d.cts', lines('a', 100));
    put('node_modules/b/index.d.ts', `${lines('a', 60)}\n${lines('b', 40)}`);
    put('node_modules/c/index.d.ts', `${lines('a', 30)}\n${lines('c', 70)}`);
    const { train, repeated } = await collect();
    // Which of several like files comes first is up to their names' hashes; c is new for the most part in any order.
    expect(repeated).toBe(4 - train.length);
    expect(names(train)).toContain('c/index.d.ts');
    expect(train.filter(({ name }) => name.startsWith('a/')).length).toBeLessThanOrEqual(1);
  });

  it('keeps the limits: at most so much of a file and of all, cut at a line', async () => {
    for (const name of ['a', 'b', 'c', 'd']) put(`node_modules/${name}/index.d.ts`, lines(name, 200));
    const { train } = await collect({ ...wide, fileBytes: 3000, totalBytes: 7000 });
    expect(train).toHaveLength(3);
    for (const { text, bytes } of train) {
      expect(bytes).toBe(Buffer.byteLength(text));
      expect(bytes).toBeLessThanOrEqual(3000);
      expect(text).toMatch(/;\n$/);
    }
    expect(train.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(7000);
  });

  it('holds whole files of middling size out, none of them in two parts', async () => {
    for (let i = 0; i < 20; i++) put(`node_modules/p${i}/index.d.ts`, lines(`p${i}x`, 50));
    put('node_modules/huge/index.d.ts', lines('huge', 1200));
    const { train, valid, test } = await collect({ ...wide, validBytes: 4000, testBytes: 8000 });
    expect(test.length).toBeGreaterThan(valid.length);
    expect(valid.length).toBeGreaterThan(0);
    expect(names([...train, ...valid, ...test])).toHaveLength(21);
    expect(new Set(names([...train, ...valid, ...test])).size).toBe(21);
    expect(names(train)).toContain('huge/index.d.ts');
  });

  it('reads Windows line ends and passes over what is no text', async () => {
    const map = `//# sourceMappingURL=data:application/json;base64,${'A'.repeat(9999)}\r\n`;
    put('node_modules/crlf/index.d.ts', `${lines('crlf', 20).replaceAll('\n', '\r\n')}\r\n${map}`);
    put('node_modules/binary/index.d.ts', new Uint8Array(2000).fill(0xff));
    put('node_modules/zeros/index.d.ts', `${lines('zeros', 20)}\0`);
    put('node_modules/table/index.d.ts', `${lines('t', 5)}\n${'x'.repeat(20_000)}`);
    put('node_modules/short/index.d.ts', 'export {};');
    const { train } = await collect();
    expect(names(train)).toEqual(['crlf/index.d.ts']);
    expect(train[0]?.text).toBe(`${lines('crlf', 20)}\n`);
  });

  it('stops when it is asked to', async () => {
    put('node_modules/a/index.d.ts', lines('a', 100));
    const files = findTextFiles([join(root, 'node_modules')]);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(collectCorpus(files, wide, { signal })).rejects.toThrow('enough');
  });
});
