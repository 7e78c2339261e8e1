/** The meta engine: shapes without numbers. The same code runs on it as on any engine, and nothing is computed. */

import { CachingAllocator } from '../allocator.ts';
import { type Backend, type DeviceMemory, Engine } from '../engine.ts';
import { type CudaDevice, workspaceOf } from '../launch.ts';

/** Memory that is not there: what is written is forgotten, and all that is read is zero. */
const nowhere: DeviceMemory = {
  upload() {},
  download() {},
  downloadLater: (_source, bytes) => () => new Uint8Array(bytes),
  copy() {},
  fill() {},
  synchronize() {},
};

/** Whose memory a meta engine counts. */
export interface MetaOptions {
  /** A GPU, whose kernels borrow scratch memory as its size asks for; the cpu engine where not given. */
  readonly gpu?: CudaDevice | undefined;
}

/**
 * An engine that hands out addresses with nothing behind them. Its allocator is that of every engine, so its counts by kind
 * and its peaks are, to the byte, what the real engine would count: memory of a step is known in milliseconds, at any size.
 */
export function createMetaEngine({ gpu }: MetaOptions = {}): Engine {
  let address = 512n; // 0 is a null pointer
  const memory = new CachingAllocator({
    allocate(bytes) {
      const block = { buffer: undefined, byteOffset: 0, address, capacity: bytes };
      address += BigInt(bytes);
      return block;
    },
    release() {},
  });
  const backend: Backend = {
    name: gpu ? 'cuda' : 'cpu', // the engine it stands in for
    goesOn: false,
    description: 'meta: shapes without numbers',
    threads: 1,
    device: nowhere,
    run(kernel, values) {
      const bytes = gpu && kernel.cuda ? workspaceOf(kernel.cuda(gpu, ...values)) : 0;
      if (bytes > 0) memory.release(memory.allocate(bytes, 'workspace'), 'workspace');
    },
    [Symbol.dispose]() {},
  };
  return new Engine(backend, memory);
}
