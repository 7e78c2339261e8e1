/** Captured work: what a stream is given is recorded as a CUDA graph, which the host starts by one call. */

import { EngineError, messageOf } from '../../../base/errors.ts';
import { type CudaDriver, captureRelaxed, outOfMemory } from '../../../ffi/cuda/driver.ts';
import { CudaError, Out } from '../../../ffi/cuda/status.ts';
import type { CachingAllocator } from '../../allocator.ts';
import type { CapturedWork } from '../../engine.ts';
import type { StagedMemory } from './memory.ts';

/**
 * Makes `Backend.capture` for a stream.
 *
 * @param memory gives up unused blocks where the driver has no memory for a graph
 */
export function createCapture(driver: CudaDriver, stream: bigint, staged: StagedMemory, memory: CachingAllocator) {
  const out = new Out();

  const instantiate = (graph: bigint): bigint => {
    driver.cuGraphInstantiateWithFlags(out.place, graph, 0);
    const executable = out.pointer;
    try {
      driver.cuGraphUpload(executable, stream); // takes its memory now, not when it is started
    } catch (error) {
      driver.cuGraphExecDestroy(executable);
      throw error;
    }
    return executable;
  };
  const isOutOfMemory = (error: unknown): boolean => error instanceof CudaError && error.status === outOfMemory;

  const end = (): bigint => {
    driver.cuStreamEndCapture(stream, out.place);
    return out.pointer;
  };

  const record = (body: () => void): bigint => {
    driver.cuStreamBeginCapture_v2(stream, captureRelaxed);
    staged.capturing = true;
    try {
      body();
      staged.capturing = false;
      return end();
    } catch (error) {
      if (staged.capturing) giveUp();
      if (!(error instanceof CudaError)) throw error;
      throw new EngineError(`a step could not be captured: ${messageOf(error)}`, {
        cause: error,
        remedy: 'MEGATRON_CUDA_GRAPHS=0 runs steps without capturing them.',
      });
    }
  };

  /** After the body failed: a stream that still captures could do nothing else. */
  const giveUp = (): void => {
    staged.capturing = false;
    try {
      const graph = end();
      if (graph !== 0n) driver.cuGraphDestroy(graph);
    } catch {
      // it says that the capture is not valid any more, which is why we are here
    }
  };

  const instantiateOrSay = (graph: bigint): bigint => {
    try {
      return instantiate(graph);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      throw new EngineError(`out of memory for the graph of a step; ${memory.words}`, {
        cause: error,
        remedy: 'Use a smaller --micro-batch-size, or run without graphs: MEGATRON_CUDA_GRAPHS=0.',
      });
    }
  };

  return (body: () => void): CapturedWork => {
    const graph = record(body);
    let executable: bigint;
    try {
      executable = instantiate(graph);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      memory.trim();
      executable = instantiateOrSay(graph);
    } finally {
      driver.cuGraphDestroy(graph);
    }
    return {
      run: () => driver.cuGraphLaunch(executable, stream),
      [Symbol.dispose]: () => driver.cuGraphExecDestroy(executable),
    };
  };
}
