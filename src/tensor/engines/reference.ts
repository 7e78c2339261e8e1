/** The reference engine: every kernel in plain TypeScript, in float32 or float64. Slow, everywhere, easy to read. */

import { CachingAllocator } from '../allocator.ts';
import { type DType, type Floats, type HalfType, isHalf } from '../dtype.ts';
import { type Backend, Engine } from '../engine.ts';
import { decodeHalves, encodeHalves } from '../halves.ts';
import type { Kernel, KernelArgument } from '../kernel.ts';
import type { Tensor } from '../tensor.ts';

/** @param floatType 'f64' for gradient checks. */
export function createReferenceEngine(floatType: Extract<DType, 'f32' | 'f64'> = 'f32'): Engine {
  const memory = new CachingAllocator({
    allocate(bytes) {
      try {
        return { buffer: new ArrayBuffer(bytes), byteOffset: 0, address: 0n, capacity: bytes };
      } catch (error) {
        if (error instanceof RangeError) return undefined; // memory is out
        throw error;
      }
    },
    release: () => {}, // left to the garbage collector
  });
  const backend: Backend = {
    name: 'reference',
    goesOn: false,
    description: `reference: plain TypeScript, ${floatType === 'f64' ? 'float64' : 'float32'}, one thread`,
    threads: 1,
    run(kernel, values) {
      runReference(kernel, values, floatType);
    },
    [Symbol.dispose]: () => {},
  };
  return new Engine(backend, memory, floatType);
}

/**
 * 16-bit values are decoded, computed with in the float type, and rounded back: only what changed, since several arguments
 * may be views of one memory.
 */
function runReference(kernel: Kernel, values: readonly KernelArgument[], floatType: DType): void {
  const decoded = new Map<Tensor, Floats>();
  const decode = (tensor: Tensor, format: HalfType): Floats => {
    const floats = floatType === 'f64' ? new Float64Array(tensor.size) : new Float32Array(tensor.size);
    decodeHalves(tensor.data as Uint16Array, format, floats);
    return floats;
  };
  const views = values.map((value) => {
    if (typeof value !== 'object') return value;
    if (!isHalf(value.dtype)) return value.data;
    const floats = decoded.get(value) ?? decode(value, value.dtype);
    decoded.set(value, floats);
    return floats;
  });
  const before = new Map([...decoded].map(([tensor, floats]) => [tensor, floats.slice()]));
  kernel.reference(...views);
  for (const [tensor, floats] of decoded) {
    const { data, dtype, size } = tensor;
    const rounded = new Uint16Array(size);
    if (isHalf(dtype)) encodeHalves(floats, dtype, rounded);
    const old = before.get(tensor);
    for (let i = 0; i < size; i++) if (!Object.is(floats[i], old?.[i])) data[i] = rounded[i] as number;
  }
}
