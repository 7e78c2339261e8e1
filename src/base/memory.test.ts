import { freemem, totalmem } from 'node:os';
import { describe, expect, it } from 'vitest';
import { availableMemory } from './memory.ts';

const GiB = 2 ** 30;
const files =
  (all: Readonly<Record<string, string>>) =>
  (path: string): string | undefined =>
    all[path];

const meminfo = { '/proc/meminfo': `MemTotal:       33554432 kB\nMemAvailable:   ${16 * 2 ** 20} kB\nBuffers: 1 kB\n` };

describe('available memory', () => {
  it('is what Linux says where there is no limit', () => {
    expect(availableMemory(files(meminfo))).toBe(16 * GiB);
    const unlimited = { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/memory.max': 'max\n' };
    expect(availableMemory(files({ ...meminfo, ...unlimited, '/sys/fs/cgroup/a/memory.current': '100\n' }))).toBe(
      16 * GiB,
    );
  });

  it('is what a limit leaves, cached files not counted, whichever of the groups around sets it', () => {
    const group = (folder: string, limit: number, used: number) => ({
      [`${folder}/memory.max`]: `${limit}\n`,
      [`${folder}/memory.current`]: `${used}\n`,
      [`${folder}/memory.stat`]: `anon 5\ninactive_file ${GiB}\nactive_file ${GiB / 2}\nslab 7\n`,
    });
    const own = { '/proc/self/cgroup': '0::/outer/inner\n', ...group('/sys/fs/cgroup/outer/inner', 12 * GiB, 4 * GiB) };
    expect(availableMemory(files({ ...meminfo, ...own }))).toBe(9.5 * GiB);
    const outer = group('/sys/fs/cgroup/outer', 6 * GiB, 5 * GiB);
    expect(availableMemory(files({ ...meminfo, ...own, ...outer }))).toBe(2.5 * GiB);
    // a container sees its own group as the root
    expect(availableMemory(files({ ...meminfo, ...own, ...group('/sys/fs/cgroup', GiB, GiB) }))).toBe(GiB);
    expect(availableMemory(files({ ...meminfo, ...own, ...group('/sys/fs/cgroup', GiB, 9 * GiB) }))).toBe(0);
  });

  it('knows the first version of control groups', () => {
    const old = {
      '/proc/self/cgroup': '9:name=systemd:/\n4:cpu,memory:/x\n0::/\n',
      '/sys/fs/cgroup/memory/x/memory.limit_in_bytes': `${8 * GiB}\n`,
      '/sys/fs/cgroup/memory/x/memory.usage_in_bytes': `${2 * GiB}\n`,
      '/sys/fs/cgroup/memory/x/memory.stat': `inactive_file 3\ntotal_inactive_file ${GiB}\ntotal_active_file 0\n`,
      // no limit, as that version writes it
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${2 * GiB}\n`,
    };
    expect(availableMemory(files({ ...meminfo, ...old }))).toBe(7 * GiB);
  });

  it('is what is free on other systems', () => {
    const before = freemem();
    // other programs come and go meanwhile
    expect(Math.abs(availableMemory(files({})) / before - 1)).toBeLessThan(0.5);
  });

  it('is some of this machine', () => {
    expect(availableMemory()).toBeGreaterThan(0);
    expect(availableMemory()).toBeLessThanOrEqual(totalmem());
  });
});
