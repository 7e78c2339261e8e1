/** What memory this machine, or the container that this process runs in, can still give. */

import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';

/** Text of a file, undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not on this system
  }
}

/** The files of a memory control group, of both versions. What files are cached counts as used, but is given back when asked for. */
const versions = [
  {
    ...{ controllers: /^$/, root: '/sys/fs/cgroup', limit: 'memory.max', used: 'memory.current' },
    cached: /^(?:in)?active_file (\d+)$/gm,
  },
  {
    ...{ controllers: /(?:^|,)memory(?:,|$)/, root: '/sys/fs/cgroup/memory' },
    ...{ limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes', cached: /^total_(?:in)?active_file (\d+)$/gm },
  },
] as const;

/** A group's folder and those around it: each may have a limit. In a container the outermost is its own. */
function foldersOf(root: string, path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return Array.from({ length: parts.length + 1 }, (_, i) => [root, ...parts.slice(0, parts.length - i)].join('/'));
}

/** Bytes that control groups leave; infinite where there is no limit. */
function leftByGroups(read: ReadText): number {
  const groups = (read('/proc/self/cgroup') ?? '').split('\n').map((line) => line.split(':'));
  const left = groups.flatMap(([, controllers = '', ...path]) => {
    const version = versions.find((one) => one.controllers.test(controllers));
    if (!version || path.length === 0) return [];
    return foldersOf(version.root, path.join(':')).map((folder) => {
      const [limit, used] = [read(`${folder}/${version.limit}`), read(`${folder}/${version.used}`)].map(Number);
      const cached = (read(`${folder}/memory.stat`) ?? '')
        .matchAll(version.cached)
        .reduce((sum, match) => sum + Number(match[1]), 0);
      const bytes = (limit ?? Number.NaN) - Math.max(0, (used ?? Number.NaN) - cached);
      return Number.isNaN(bytes) ? Number.POSITIVE_INFINITY : bytes; // "max", or no such group
    });
  });
  return Math.max(0, Math.min(...left, Number.POSITIVE_INFINITY));
}

/**
 * Bytes that programs can still get without swapping: what Linux calls available, or less where a control group has a limit;
 * elsewhere what is free.
 */
export function availableMemory(read: ReadText = textOf): number {
  const kilobytes = /^MemAvailable:\s*(\d+) kB$/m.exec(read('/proc/meminfo') ?? '')?.[1];
  return Math.min(kilobytes === undefined ? freemem() : 1024 * Number(kilobytes), leftByGroups(read));
}
