/** The reference engine: every kernel in plain TypeScript, in float32 or float64. Slow, everywhere, easy to read. */

import { CachingAllocator } from '../allocator.ts';
import type { DType } from '../dtype.ts';
import { type Backend, Engine } from '../engine.ts';

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
    description: `reference: plain TypeScript, ${floatType === 'f64' ? 'float64' : 'float32'}, one thread`,
    threads: 1,
    run(kernel, values) {
      kernel.reference(...values.map((value) => (typeof value === 'object' ? value.data : value)));
    },
    [Symbol.dispose]: () => {},
  };
  return new Engine(backend, memory, floatType);
}
