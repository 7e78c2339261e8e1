import { expect, it } from 'vitest';
import { expectSame } from '../../../test/support/closeness.ts';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { goldens } from '../../../test/support/golden.ts';
import { decodeFloats, word } from '../../../test/support/numbers.ts';
import { ShapeError } from '../../base/errors.ts';
import { type HalfType, halfTypes, rawBytes } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { cast } from './op.ts';

const formats = halfTypes;

/** The value of every 16-bit pattern. */
const valuesOf: Record<HalfType, Float32Array> = {
  bf16: new Float32Array(Uint32Array.from({ length: 65536 }, (_, bits) => bits << 16).buffer),
  f16: Float32Array.from(new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer)),
};

describeOnEngines('cast', (engine) => {
  const toHalf = (values: ArrayLike<number>, format: HalfType): number[] =>
    engine().scope(() => Array.from(cast(Tensor.from(engine(), values, [values.length]), format).read()));

  it.each(formats)('reads all 65536 patterns of %s, and writes each back', (format) => {
    const on = engine();
    on.scope(() => {
      const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
      const all = Tensor.empty(on, [65536], { dtype: format });
      all.writeBytes((bytes) => bytes.set(rawBytes(patterns)));
      const floats = cast(all, 'f32');
      const [values, back] = [floats.read(), cast(floats, format).read()];
      expectSame(values, valuesOf[format], 'values');
      for (let i = 0; i < 65536; i++) {
        const expected = patterns[i] as number;
        // any NaN may stand for a NaN; all else comes back bit by bit, zeros with their sign
        const same = Number.isNaN(values[i]) ? Number.isNaN(valuesOf[format][back[i] as number]) : back[i] === expected;
        if (!same) expect.fail(`pattern ${expected} came back as ${back[i]}`);
      }
    });
  });

  it.each(formats)('rounds to the nearest %s, ties to even', (format) => {
    // midpoints between neighbours, and the float32 numbers next to them
    const patterns: number[] = [];
    for (let bits = 0; bits < 65535; bits += 13) {
      const low = valuesOf[format][bits] ?? 0;
      const high = valuesOf[format][bits + 1] ?? 0;
      if (Number.isFinite(low) && Number.isFinite(high) && low * high >= 0) patterns.push(bits);
    }
    const float = new Float32Array(1);
    const raw = new Uint32Array(float.buffer);
    const inputs: number[] = [];
    const expected: number[] = [];
    for (const bits of patterns) {
      const middle = ((valuesOf[format][bits] ?? 0) + (valuesOf[format][bits + 1] ?? 0)) / 2;
      float[0] = middle;
      if (float[0] !== middle) continue; // bf16's smallest have no float32 between them
      const even = bits % 2 === 0 ? bits : bits + 1;
      inputs.push(middle);
      expected.push(even);
      const pattern = raw[0] as number;
      // one step away from zero and one towards it, in either sign
      raw[0] = pattern + 1;
      inputs.push(float[0]);
      expected.push(bits + 1);
      raw[0] = pattern - 1;
      inputs.push(float[0]);
      expected.push(bits);
    }
    expect(inputs.length).toBeGreaterThan(10_000);
    expectSame(toHalf(inputs, format), expected, 'bits');
  });

  it('rounds to f16 as Float16Array does', () => {
    const float = new Float32Array(20_000);
    const raw = new Uint32Array(float.buffer);
    for (let i = 0; i < raw.length; i++) raw[i] = word(121, i); // any float32 at all
    const bits = new Uint16Array(new Float16Array(float).buffer);
    const found = toHalf(float, 'f16');
    for (let i = 0; i < float.length; i++) {
      if (Number.isNaN(float[i])) expect(Number.isNaN(valuesOf.f16[found[i] ?? 0])).toBe(true);
      else if (found[i] !== bits[i]) expect.fail(`${float[i]} became ${found[i]}, expected ${bits[i]}`);
    }
  });

  it.each(formats)('rounds to %s as PyTorch does', (format) => {
    expectSame(toHalf(decodeFloats(goldens.cast.x), format), goldens.cast[format], 'bits');
  });

  it.each([
    ['bf16', 3.3962e38, 0x7f80],
    ['bf16', 3.3961e38, 0x7f7f],
    ['f16', 65520, 0x7c00],
    ['f16', 65519.99, 0x7bff],
  ] as const)('%s of %f is %i', (format, value, bits) => {
    expect(toHalf([value, -value], format)).toEqual([bits, bits + 0x8000]);
  });

  it.each([1, 7, 17, 70_001])('casts all of %i numbers', (size) => {
    const values = Float32Array.from({ length: size }, (_, i) => (i % 256) - 128);
    const on = engine();
    on.scope(() => {
      const x = Tensor.from(on, values, [size]);
      for (const format of formats) expectSame(cast(cast(x, format), 'f32').read(), values, format);
    });
  });

  it('refuses what is no conversion, and frees what it took', () => {
    const on = engine();
    using x = Tensor.zeros(on, [3]);
    const before = on.memory.count().current;
    expect(() => cast(x, 'i32')).toThrow(ShapeError);
    expect(() => cast(x, 'f32')).toThrow(ShapeError);
    expect(on.memory.count().current).toBe(before);
  });
});
