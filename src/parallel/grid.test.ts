/** Megatron's test_initialize: which ranks form which groups. */

import { describe, expect, it } from 'vitest';
import type { Place } from '../../test/support/ranks/grid.rank.ts';
import { UsageError } from '../base/errors.ts';
import { launch } from '../comm/launch.ts';
import { selfCommunicator } from '../comm/self.ts';
import { createRankGrid, soloGrid } from './grid.ts';

const module = new URL('../../test/support/ranks/grid.rank.ts', import.meta.url);

describe('the grid of eight ranks', () => {
  it('has consecutive tensor groups and strided data groups', async () => {
    const places = await launch<Place[]>(8, module, [2, 1, 4, 8]);
    const groups = (layout: number, kind: 'tensor' | 'data') => [
      ...new Set(places.map((place) => place[layout]?.[kind].join(' '))),
    ];
    expect(groups(0, 'tensor')).toEqual(['0 1', '2 3', '4 5', '6 7']);
    expect(groups(0, 'data')).toEqual(['0 2 4 6', '1 3 5 7']);
    expect(groups(1, 'tensor')).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    expect(groups(1, 'data')).toEqual(['0 1 2 3 4 5 6 7']);
    expect(groups(2, 'tensor')).toEqual(['0 1 2 3', '4 5 6 7']);
    expect(groups(2, 'data')).toEqual(['0 4', '1 5', '2 6', '3 7']);
    expect(groups(3, 'tensor')).toEqual(['0 1 2 3 4 5 6 7']);
    expect(groups(3, 'data')).toHaveLength(8);
    for (const [rank, [place]] of places.entries()) {
      expect(place).toMatchObject({ tensorRank: rank % 2, dataRank: Math.floor(rank / 2) });
    }
  });

  it('is refused where tensor groups do not come out even, with numbers that work', () => {
    const world = (size: number) => ({ ...selfCommunicator(), size });
    const grid = (size: number, tensor: number) => () => createRankGrid(world(size), tensor);
    expect(grid(6, 4)).toThrow(UsageError);
    expect(grid(6, 4)).toThrow('6 ranks do not divide into tensor groups of 4');
    expect(grid(6, 4)).toThrow(
      expect.objectContaining({ remedy: expect.stringMatching(/^Start 4 or 8 ranks .*6\.$/) }),
    );
    expect(grid(2, 4)).toThrow(expect.objectContaining({ remedy: expect.stringMatching(/^Start 4 ranks .*2\.$/) }));
    for (const size of [0, -1, 1.5, Number.NaN]) {
      expect(grid(4, size)).toThrow(expect.objectContaining({ remedy: expect.stringMatching(/whole number/) }));
    }
  });

  it('of one rank is that rank', () => {
    const { world, tensor, data } = soloGrid();
    for (const group of [world, tensor, data]) expect(group).toMatchObject({ rank: 0, size: 1 });
  });
});
