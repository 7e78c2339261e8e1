import { describe, expect, it } from 'vitest';
import type { CollectiveWork } from '../tensor/observer.ts';
import { launch } from './launch.ts';

type Seen = Omit<CollectiveWork, 'kind'>;

describe('a watched communicator', () => {
  it('conforms, and tells the same of a group on all its ranks', async () => {
    const ranks = await launch<Seen[]>(3, new URL('./observed.child.ts', import.meta.url));
    const [first = []] = ranks;
    const names = ['all-reduce sum', 'all-reduce max', 'all-gather', 'reduce-scatter', 'broadcast', 'barrier'];
    expect(first.map(({ name }) => name)).toEqual(expect.arrayContaining([...names, 'exchange', 'split']));
    const ofGroup = (seen: readonly Seen[], group: string): Seen[] => seen.filter((call) => call.group === group);
    const groups = new Set(ranks.flat().map(({ group }) => group));
    expect(groups.size).toBeGreaterThan(1);
    for (const group of groups) {
      const told = ranks.map((seen) => ofGroup(seen, group)).filter((calls) => calls.length > 0);
      for (const calls of told) expect(calls, group).toEqual(told[0]);
      const numbers = told[0]?.filter(({ part }) => part !== 'finish').map(({ number }) => number) ?? [];
      expect(new Set(numbers).size, group).toBe(told.length > 0 ? numbers.length : 0);
    }
  });
});
