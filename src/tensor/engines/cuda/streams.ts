/** Streams beside the engine's own, and the events that put the work of several in order. */

import { type CudaDriver, eventWithoutTiming, nonBlockingStream } from '../../../ffi/cuda/driver.ts';
import { Out } from '../../../ffi/cuda/status.ts';
import type { GpuStreams } from '../../engine.ts';

export function createStreams(driver: CudaDriver): GpuStreams & Disposable {
  const out = new Out();
  const streams: bigint[] = [];
  const events: bigint[] = [];
  return {
    newStream() {
      driver.cuStreamCreate(out.place, nonBlockingStream);
      streams.push(out.pointer);
      return out.pointer;
    },
    newEvent() {
      driver.cuEventCreate(out.place, eventWithoutTiming);
      events.push(out.pointer);
      return out.pointer;
    },
    record: (event, stream) => driver.cuEventRecord(event, stream),
    wait: (stream, event) => driver.cuStreamWaitEvent(stream, event, 0),
    // what is still under way ends by itself: the driver keeps it until then
    [Symbol.dispose]() {
      for (const event of events.splice(0)) driver.cuEventDestroy_v2(event);
      for (const stream of streams.splice(0)) driver.cuStreamDestroy_v2(stream);
    },
  };
}
