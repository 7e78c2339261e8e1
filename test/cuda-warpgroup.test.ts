/** Products of warpgroups: every layout that kernels use, and what the software CUDA gives a kernel that forgets something. */

import { beforeAll, expect, it } from 'vitest';
import { describeOnGpus } from './support/gpus.ts';
import { openTestDevice, type TestDevice } from './support/kernel-text.ts';

const lanes = 128;
/** Most sums of a lane: those of a product [64, 128]. */
const most = 64;

/** A [64, k] and B [k, n] whose products are whole numbers that 16-bit types and float32 sums hold exactly. */
const left = (row: number, k: number): number => ((row * 5 + k * 3) % 7) - 3;
const right = (k: number, column: number): number => ((k * 11 + column * 2) % 9) - 4;

const prelude = `
  #include "swizzled.cuh"
  __device__ float left(int row, int k) { return (row * 5 + k * 3) % 7 - 3; }
  __device__ float right(int k, int column) { return (k * 11 + column * 2) % 9 - 4; }
  // Eight numbers of a tile at once, as what products read must be stored.
  template <class Tile, class Number>
  __device__ void fillTile(unsigned char* tile, const Number& number) {
    for (int at = threadIdx.x; at < Tile::rows * Tile::padded / 8; at += 128) {
      const int row = at / (Tile::padded / 8), group = at % (Tile::padded / 8);
      unsigned words[4];
      for (int e = 0; e < 4; ++e)
        words[e] = packedHalves<Value>(number(row, 8 * group + 2 * e), number(row, 8 * group + 2 * e + 1));
      storeOperand(tile + Tile::placeOf(row, group), {words[0], words[1], words[2], words[3]});
    }
  }
  template <int tiles>
  __device__ void show(float* out, const float (&sums)[tiles][4]) {
    for (int n = 0; n < tiles; ++n) for (int e = 0; e < 4; ++e) out[4 * n + e] = sums[n][e];
  }`;

interface Layout {
  /** Columns of both tiles in memory, and so the bytes of their lines. */
  readonly padded: number;
  /** B is read across its rows, and A from registers; else both along. */
  readonly transposed: boolean;
}

/** What a kernel does between filling its tiles and showing its sums. */
interface Steps {
  readonly show?: string;
  readonly start?: string;
  readonly commit?: string;
  readonly late?: string;
  readonly wait?: string;
}

function productOf({ padded, transposed }: Layout, steps: Steps = {}): string {
  const {
    show = 'showToProducts();',
    start = `startProducts(sums${transposed ? ', operands' : ''});`,
    commit = 'commitProducts();',
  } = steps;
  const { late = '', wait = 'waitForProducts<0>(sums);' } = steps;
  const product = transposed
    ? `unsigned operands[4][4];
       for (int k = 0; k < 4; ++k)
         for (int e = 0; e < 4; ++e) {
           const int row = i / 32 * 16 + i % 32 / 4 + e % 2 * 8, column = 16 * k + i % 4 * 2 + e / 2 * 8;
           operands[k][e] = packedHalves<Value>(left(row, column), left(row, column + 1));
         }
       ${start}
       operandsTimesRows<B>(sums, operands, B::acrossColumns(b));`
    : `${start} rowsTimesRows<A, B>(sums, A::alongColumns(a, 0), B::alongColumns(b, 0));`;
  return `
    using A = Swizzled<64, ${padded}>;
    using B = Swizzled<64, ${padded}>;
    unsigned char *a = alignedTiles(memory), *b = a + A::bytes;
    fillTile<A>(a, [](int row, int k) { return left(row, k); });
    fillTile<B>(b, [](int row, int column) { return ${transposed ? 'right(row, column)' : 'right(column, row)'}; });
    float sums[${transposed ? padded / 8 : 8}][4] = {};
    ${show} __syncthreads();
    ${product}
    ${commit} ${late} ${wait}
    show(out + (blockIdx.x * ${lanes} + i) * ${most}, sums);`;
}

/** Row and column of a lane's sum, as warpgroup.cuh says. */
function placeOf(lane: number, sum: number): readonly [row: number, column: number] {
  const [warp, g, t] = [Math.floor(lane / 32), Math.floor(lane / 4) % 8, lane % 4];
  return [16 * warp + g + 8 * (Math.floor(sum / 2) % 2), 8 * Math.floor(sum / 4) + 2 * t + (sum % 2)];
}

function expectedOf({ padded, transposed }: Layout): number[] {
  const [depth, each] = transposed ? [64, padded / 2] : [padded, 32];
  return Array.from({ length: lanes * each }, (_, index) => {
    const [row, column] = placeOf(Math.floor(index / each), index % each);
    return Array.from({ length: depth }, (_, k) => left(row, k) * right(k, column)).reduce((sum, x) => sum + x, 0);
  });
}

describeOnGpus('products of warpgroups', (emulated) => {
  let device: TestDevice;
  beforeAll(() => {
    device = openTestDevice();
  });

  /** The first sums of every lane, `each` or 32, that each body leaves; one block for each, in one program. */
  function sumsOf(bodies: readonly { readonly text: string; readonly each?: number }[], type = 'BF16'): number[][] {
    const cases = bodies.map(({ text }, index) => `case ${index}: { ${text} break; }`);
    const outputs = device.run({
      ...{ threads: lanes, blocks: bodies.length, floats: bodies.length * lanes * most, sharedBytes: 65 * 1024 },
      prelude: `#define VALUE_${type}\n${prelude}`,
      body: `DYNAMIC_SHARED(unsigned char, memory); switch (blockIdx.x) { ${cases.join('\n')} }`,
    });
    const block = lanes * most;
    return bodies.map(({ each = 32 }, body) =>
      outputs.slice(body * block, (body + 1) * block).filter((_, index) => index % most < each),
    );
  }

  it.each(['BF16', 'F16'])('multiplies tiles of every width, along and across, in %s', (type) => {
    if (device.architecture !== 90) return; // no other has them
    const layouts = [64, 96, 128].flatMap((padded) => [false, true].map((transposed) => ({ padded, transposed })));
    const bodies = layouts.map((layout) => ({
      text: productOf(layout),
      each: layout.transposed ? layout.padded / 2 : 32,
    }));
    const sums = sumsOf(bodies, type);
    for (const [index, layout] of layouts.entries()) {
      expect(sums[index], JSON.stringify(layout)).toEqual(expectedOf(layout));
    }
  });

  if (!emulated) return; // what follows is undefined on a GPU

  it('loses products where something is forgotten', () => {
    const layout = { padded: 64, transposed: false };
    const cases: readonly Steps[] = [
      { show: '' }, // products do not see what was written
      { start: '' }, // registers are not fenced
      { commit: '' }, // the group is never closed, so nobody waits for it
      { wait: '' },
      // operands overwritten meanwhile
      { late: 'for (int at = i; at < 2 * A::bytes / 16; at += 128) copyAsync(a + 16 * at, out, false);' },
      // what is written to sums that are not waited for is lost
      { late: 'for (int n = 0; n < 8; ++n) sums[n][0] = 5;' },
    ];
    const sums = sumsOf(cases.map((steps) => ({ text: productOf(layout, steps) })));
    const lost = new Array<number>(lanes * 32).fill(Number.NaN);
    expect(sums).toEqual([lost, lost, lost, lost, lost, expectedOf(layout)]);
  });

  it('shows copies only once they are waited for and shown', () => {
    const copied = (between: string): { text: string } => ({
      text: `
      using A = Swizzled<64, 64>;
      unsigned char *a = alignedTiles(memory), *b = a + A::bytes;
      Value* ones = reinterpret_cast<Value*>(out + (blockIdx.x * 128 + 127) * ${most} + 32);
      if (i < 8) ones[i] = fromFloat<Value>(1.0f);
      __syncthreads();
      for (int at = i; at < 2 * A::bytes / 16; at += 128) copyAsync(a + 16 * at, ones, true);
      commitCopies();
      ${between}
      __syncthreads();
      float sums[8][4];
      startProducts(sums);
      rowsTimesRows<A, A>(sums, A::alongColumns(a, 0), A::alongColumns(b, 0));
      commitProducts();
      waitForProducts<0>(sums);
      show(out + (blockIdx.x * 128 + i) * ${most}, sums);`,
    });
    const all = (number: number): number[] => new Array<number>(lanes * 32).fill(number);
    const bodies = [
      copied('waitForCopies<0>(); showToProducts();'),
      copied('waitForCopies<0>();'),
      copied('showToProducts(); waitForCopies<0>();'),
    ];
    expect(sumsOf(bodies)).toEqual([all(64), all(Number.NaN), all(Number.NaN)]);
  });

  it('fails where a warp of the group is missing', () => {
    const text = 'if (i / 32 != 2) commitProducts(); else __syncthreads();';
    expect(() => sumsOf([{ text }])).toThrow(/LAUNCH_FAILED/);
  });
});
