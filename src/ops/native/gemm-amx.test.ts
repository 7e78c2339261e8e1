import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { expectClose, expectSame } from '../../../test/support/closeness.ts';
import { noCpuEngine } from '../../../test/support/engines.ts';
import { numbers } from '../../../test/support/numbers.ts';
import { compileLibrary, findCompiler } from '../../ffi/compile.ts';
import { addressOf, type NativeLibrary, openLibrary } from '../../ffi/native.ts';
import { decodeHalves, encodeHalves } from '../../tensor/halves.ts';
import { multiply } from '../matmul/kernels.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const support = here('../../../test/support/amx');
const compiler = await findCompiler();
const realFlags = ['-mamx-tile', '-mamx-bf16'];

/** The product's sources as a library of their own: over the emulation of AMX, or with the instructions themselves. */
async function productLibrary(kind: 'emulated' | 'real'): Promise<NativeLibrary> {
  if (!compiler) throw new Error('check noCpuEngine first');
  const emulation = `${support}/emulation.h`;
  const flags = kind === 'real' ? realFlags : ['-fno-associative-math', '-include', emulation];
  const path = await compileLibrary(compiler, {
    name: `amx-${kind}`,
    sources: [`${support}/products.cpp`, here('gemm-values.cpp'), here('gemm.cpp')],
    includeFolders: [here('.')],
    foreignHeaders: kind === 'real' ? [] : [emulation],
    compileFlags: ['-O1', ...flags],
  });
  return openLibrary(path, { permanent: true });
}

/** Whether this machine's compiler knows AMX, and the system is one whose kernel grants it. */
function compilesAmx(): boolean {
  if (!compiler || process.platform !== 'linux' || process.arch !== 'x64') return false;
  try {
    execFileSync(compiler.command, [...realFlags, '-fsyntax-only', '-x', 'c++', '/dev/null'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

interface Product {
  readonly size: readonly [m: number, n: number, k: number];
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: boolean;
  readonly accumulate?: boolean;
  readonly result?: 'bf16' | 'f32';
  readonly threads?: number;
  /** Operands with all of bf16's digits; else in steps of 1/64, with which sums in float32 are exact in any order. */
  readonly anyNumbers?: boolean;
}

/** Operands as doubles; `k` numbers in a row or, transposed, `k` rows. */
function operands({ size: [m, n, k], anyNumbers }: Product) {
  const make = (count: number, key: number): Float64Array => {
    const values = numbers({ shape: [count], key });
    return encoded(anyNumbers ? values : values.map((value) => Math.round(value * 64) / 64)).decoded;
  };
  return { a: make(m * k, 1), b: make(k * n, 2), bias: make(n, 3), c: make(m * n, 4) };
}

function encoded(values: ArrayLike<number>): { bits: Uint16Array<ArrayBuffer>; decoded: Float64Array } {
  const bits = new Uint16Array(values.length);
  const decoded = new Float64Array(values.length);
  encodeHalves(values, 'bf16', bits);
  decodeHalves(bits, 'bf16', decoded);
  return { bits, decoded };
}

const guard = 4096; // bytes of NaN before and after what native code sees, more than a tile reaches over
const guardBytes = Buffer.alloc(guard, 0xff);

/** A view between guards of NaN, for which native code is given `address`. */
function guarded(values: Uint16Array | Float32Array) {
  const bytes = new Uint8Array(values.byteLength + 2 * guard).fill(0xff);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), guard);
  const inner = bytes.subarray(guard, guard + values.byteLength);
  const isIntact = (): boolean =>
    guardBytes.equals(bytes.subarray(0, guard)) && guardBytes.equals(bytes.subarray(-guard));
  return { address: addressOf(bytes) + BigInt(guard), inner, isIntact };
}

/** Native code's result, as the bits that it left. */
function compute(library: NativeLibrary, product: Product): Uint16Array | Float32Array {
  const { size, transposeA = false, transposeB = false, accumulate = false, result = 'bf16', threads = 2 } = product;
  const [m, n] = size;
  const numbers = operands(product);
  const context = Buffer.alloc(24); // struct Context: the threads, and no library
  context.writeInt32LE(threads, 0);
  const a = guarded(encoded(numbers.a).bits);
  const b = guarded(encoded(numbers.b).bits);
  const bias = guarded(Float32Array.from(numbers.bias));
  const before = accumulate ? numbers.c : new Float64Array(m * n).fill(Number.NaN); // must not be read
  const c = guarded(result === 'bf16' ? encoded(before).bits : Float32Array.from(before));
  const run = library.bind(`multiply_to_${result}`, 'void', [
    ...(['pointer', 'int32', 'int32', 'int64', 'int64', 'int64'] as const),
    ...(['pointer', 'pointer', 'pointer', 'pointer', 'int32'] as const),
  ]);
  const given = product.bias ? bias.address : null;
  run(context, +transposeA, +transposeB, ...size, a.address, b.address, given, c.address, +accumulate);
  for (const buffer of [a, b, bias, c]) expect(buffer.isIntact(), JSON.stringify(product)).toBe(true);
  const { buffer, byteOffset } = c.inner;
  return result === 'bf16' ? new Uint16Array(buffer, byteOffset, m * n) : new Float32Array(buffer, byteOffset, m * n);
}

/** The same in double precision. */
function exactly(product: Product): Float64Array {
  const [m, n, k] = product.size;
  const { a, b, bias, c } = operands(product);
  multiply(
    a,
    b,
    c,
    m,
    n,
    k,
    Number(product.transposeA ?? false),
    Number(product.transposeB ?? false),
    +!!product.accumulate,
  );
  return product.bias ? c.map((value, i) => value + (bias[i % n] as number)) : c;
}

function expectExact(library: NativeLibrary, product: Product): void {
  const expected = exactly(product);
  const { bits } = encoded(expected); // one rounding of the whole sum
  const rounded = product.result === 'f32' ? Float32Array.from(expected) : bits;
  expectSame(compute(library, product), rounded, JSON.stringify(product));
}

/** Every transposition, with and without a bias and numbers to add to, into both types. */
const forms = (size: Product['size']): Product[] =>
  Array.from({ length: 32 }, (_, form) => ({
    size,
    transposeA: (form & 1) > 0,
    transposeB: (form & 2) > 0,
    bias: (form & 4) > 0,
    accumulate: (form & 8) > 0,
    result: form & 16 ? 'f32' : 'bf16',
  }));

// Whole tiles, lower halves that are not there, every kind of tail in rows, columns and depth, a second task of rows.
const sizes: readonly Product['size'][] = [
  ...([
    [1, 1, 1],
    [13, 33, 70],
    [16, 16, 2],
    [17, 31, 33],
    [32, 32, 32],
    [33, 64, 96],
  ] as const),
  ...([
    [48, 5, 31],
    [70, 37, 130],
    [130, 3, 257],
    [200, 40, 64],
    [5, 300, 7],
  ] as const),
];

describe.skipIf(noCpuEngine)('bf16 products by AMX, emulated', () => {
  it('multiplies tiles by the manual’s rules', async () => {
    const tile = (await productLibrary('emulated')).bind('amx_tile', 'int64', [
      ...(['int32', 'int32', 'int32', 'pointer', 'pointer', 'pointer'] as const),
    ]);
    const [rows, depth] = [5, 6];
    const { a, b } = operands({ size: [rows, 16, depth] });
    const pairs = Float64Array.from(
      b,
      (_, i) => b[(2 * Math.floor(i / 32) + (i % 2)) * 16 + ((i % 32) >> 1)] as number,
    );
    const c = new Float32Array(rows * 16);
    const run = (configured: number) =>
      tile(configured, rows, depth, encoded(a).bits, encoded(pairs).bits, c) as number | bigint;
    expect(Number(run(1))).toBe(0);
    const expected = new Float64Array(rows * 16);
    multiply(a, b, expected, rows, 16, depth, 0, 0, 0);
    expectSame(c, Float32Array.from(expected), 'tile');
    // without shapes all five instructions that name a tile are undefined
    expect(Number(run(0))).toBe(5);
  });

  it('are exact in every form and size, by every unit', async () => {
    const library = await productLibrary('emulated');
    const count = (name: string): number => Number(library.bind(name, 'int64', [])());
    const grant = library.bind('amx_grant', 'void', ['int32']);
    const unit = library.bind('megatron_bf16_unit', 'int32', []);
    // several blocks of the depth, the last one not whole
    const deep: Product[] = [
      { size: [20, 37, 6211], bias: true, accumulate: true },
      { size: [33, 20, 6208], transposeA: true, accumulate: true, result: 'f32' },
    ];
    for (const granted of [1, 0]) {
      grant(granted);
      const [before, faults] = [count('amx_products'), count('amx_faults')];
      for (const product of [...sizes.flatMap(forms), ...deep]) expectExact(library, product);
      expect(count('amx_products') > before).toBe(granted === 1);
      expect(unit() === 2).toBe(granted === 1);
      expect(count('amx_faults')).toBe(faults);
    }
    grant(1);
  });

  it('give the same bits for every thread count, near those of double precision', async () => {
    const library = await productLibrary('emulated');
    for (const transposed of [false, true]) {
      const product: Product = {
        ...{ size: [290, 150, 331], result: 'f32', anyNumbers: true, accumulate: true },
        ...{ transposeA: transposed, transposeB: !transposed },
      };
      const one = compute(library, { ...product, threads: 1 });
      for (const threads of [2, 3]) expectSame(compute(library, { ...product, threads }), one, `${threads} threads`);
      expectClose(one, exactly(product), 3e-6); // sums of 331 products, each rounded to 6e-8
    }
  });
});

describe.skipIf(noCpuEngine || !compilesAmx())('bf16 products by AMX’s own instructions', () => {
  // Where the processor has none, the system refuses the tiles' state, and the vector units must take over.
  it('compile, and are exact on whatever unit the system grants', async () => {
    const library = await productLibrary('real');
    const granted = library.bind('megatron_bf16_unit', 'int32', [])() === 2;
    console.info(`AMX is ${granted ? 'granted' : 'refused'} here`);
    for (const product of sizes.flatMap(forms)) expectExact(library, product);
  });
});
