/** Device memory, and the ways of numbers between it and JavaScript: through pinned pages, in the order of one stream. */

import { EngineError } from '../../../base/errors.ts';
import { formatBytes } from '../../../base/format.ts';
import { type CudaDriver, eventWithoutTiming, eventWithTiming, outOfMemory } from '../../../ffi/cuda/driver.ts';
import { CudaError, Out } from '../../../ffi/cuda/status.ts';
import { viewMemory } from '../../../ffi/native.ts';
import type { Block, BlockSource } from '../../allocator.ts';
import type { DeviceMemory } from '../../engine.ts';

/** Blocks of device memory for the allocator. All work is on one stream, so a block may be reused as soon as it is given back. */
export function deviceBlocks(driver: CudaDriver, deviceName: string): BlockSource & Disposable {
  const [out, total] = [new Out(), new Out()];
  const addresses = new Set<bigint>();
  return {
    allocate(bytes) {
      try {
        driver.cuMemAlloc_v2(out.place, bytes);
      } catch (error) {
        if (error instanceof CudaError && error.status === outOfMemory) return undefined;
        throw error;
      }
      addresses.add(out.pointer);
      return { buffer: undefined, byteOffset: 0, address: out.pointer, capacity: bytes };
    },
    release({ address }: Block) {
      addresses.delete(address);
      driver.cuMemFree_v2(address);
    },
    /** Frees what tensors still hold: a process may outlive its engine, and a GPU's memory is dear. */
    [Symbol.dispose]() {
      for (const address of addresses) driver.cuMemFree_v2(address);
      addresses.clear();
    },
    available() {
      driver.cuMemGetInfo_v2(out.place, total.place);
      return out.size;
    },
    words() {
      driver.cuMemGetInfo_v2(out.place, total.place);
      return `${deviceName}: ${formatBytes(out.size)} of ${formatBytes(total.size)} free`;
    },
  };
}

const stagingBytes = 4 * 1024 * 1024;
/** Bytes of one number that is fetched later. */
const slotBytes = 64;
const slotsPerPage = 64;

interface Pinned {
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Slot {
  readonly pinned: Pinned;
  readonly event: bigint;
}

/**
 * Uploads are copied to pinned pages and sent from there while JavaScript goes on: two halves take turns, and only a half
 * that is still being sent is waited for.
 */
export class StagedMemory implements DeviceMemory, Disposable {
  readonly #driver: CudaDriver;
  readonly #stream: bigint;
  readonly #out = new Out();
  readonly #pages: bigint[] = [];
  readonly #events: bigint[] = [];
  readonly #free: Slot[] = [];
  #halves: readonly Slot[] = [];
  #half = 0;
  #used = 0;
  #landing: Pinned | undefined;
  #firstMark: bigint | undefined;
  /** While work is captured nothing passes between the host and the device: it would pass once, and stale numbers ever after. */
  capturing = false;

  constructor(driver: CudaDriver, stream: bigint) {
    this.#driver = driver;
    this.#stream = stream;
  }

  upload(destination: bigint, source: Uint8Array): void {
    this.#refuseInCapture('write numbers');
    for (let begin = 0; begin < source.length; ) {
      const { pinned } = this.#halfWithRoom();
      const length = Math.min(source.length - begin, stagingBytes - this.#used);
      pinned.bytes.set(source.subarray(begin, begin + length), this.#used);
      const from = pinned.address + BigInt(this.#used);
      this.#driver.cuMemcpyHtoDAsync_v2(destination + BigInt(begin), from, length, this.#stream);
      this.#used = Math.min(stagingBytes, this.#used + Math.ceil(length / slotBytes) * slotBytes);
      begin += length;
    }
  }

  download(source: bigint, destination: Uint8Array): void {
    this.#refuseInCapture('read numbers');
    this.#landing ??= this.#pin(stagingBytes);
    const { address, bytes } = this.#landing;
    for (let begin = 0; begin < destination.length; begin += stagingBytes) {
      const length = Math.min(stagingBytes, destination.length - begin);
      this.#driver.cuMemcpyDtoHAsync_v2(address, source + BigInt(begin), length, this.#stream);
      this.synchronize();
      destination.set(bytes.subarray(0, length), begin);
    }
  }

  downloadLater(source: bigint, bytes: number): () => Uint8Array<ArrayBuffer> {
    this.#refuseInCapture('read numbers');
    if (this.#free.length === 0) this.#addSlots();
    const slot = this.#free.pop();
    if (!slot || bytes > slotBytes)
      throw new RangeError(`${bytes} bytes cannot be fetched later, ${slotBytes} at most`);
    this.#driver.cuMemcpyDtoHAsync_v2(slot.pinned.address, source, bytes, this.#stream);
    this.#driver.cuEventRecord(slot.event, this.#stream);
    let fetched: Uint8Array<ArrayBuffer> | undefined;
    return () => {
      if (!fetched) {
        this.#driver.cuEventSynchronize(slot.event);
        fetched = slot.pinned.bytes.slice(0, bytes);
        this.#free.push(slot);
      }
      return fetched;
    };
  }

  copy(destination: bigint, source: bigint, bytes: number): void {
    if (bytes > 0) this.#driver.cuMemcpyDtoDAsync_v2(destination, source, bytes, this.#stream);
  }

  fill(destination: bigint, pattern: Uint8Array, count: number): void {
    if (count === 0) return;
    const view = new DataView(pattern.buffer, pattern.byteOffset, pattern.byteLength);
    const { cuMemsetD8Async, cuMemsetD16Async, cuMemsetD32Async } = this.#driver;
    if (pattern.length === 4) cuMemsetD32Async(destination, view.getUint32(0, true), count, this.#stream);
    else if (pattern.length === 2) cuMemsetD16Async(destination, view.getUint16(0, true), count, this.#stream);
    else cuMemsetD8Async(destination, view.getUint8(0), count, this.#stream);
  }

  synchronize(): void {
    this.#refuseInCapture('wait');
    this.#driver.cuStreamSynchronize(this.#stream);
  }

  mark(): () => number {
    this.#refuseInCapture('look at the clock');
    const event = this.#newEvent(eventWithTiming);
    this.#driver.cuEventRecord(event, this.#stream);
    this.#firstMark ??= event;
    const first = this.#firstMark;
    return () => {
      this.#driver.cuEventSynchronize(event);
      this.#driver.cuEventElapsedTime(this.#out.place, first, event);
      return this.#out.float;
    };
  }

  [Symbol.dispose](): void {
    for (const event of this.#events) this.#driver.cuEventDestroy_v2(event);
    for (const page of this.#pages) this.#driver.cuMemFreeHost(page);
  }

  #refuseInCapture(what: string): void {
    if (!this.capturing) return;
    throw new EngineError(`a step that is captured cannot ${what} on its way`, {
      remedy:
        'Read and write tensors outside of the forward step (its inputs are made before it), or run without capturing: MEGATRON_CUDA_GRAPHS=0.',
    });
  }

  /** The half that uploads go through now; the other one, once it has been sent, where this is full. */
  #halfWithRoom(): Slot {
    if (this.#halves.length === 0) {
      this.#halves = [0, 1].map(() => ({ pinned: this.#pin(stagingBytes), event: this.#newEvent() }));
    }
    const half = this.#halves[this.#half] as Slot;
    if (this.#used < stagingBytes) return half;
    this.#driver.cuEventRecord(half.event, this.#stream);
    this.#half = 1 - this.#half;
    this.#used = 0;
    const next = this.#halves[this.#half] as Slot;
    this.#driver.cuEventSynchronize(next.event); // an event that was never recorded is done
    return next;
  }

  #addSlots(): void {
    const page = this.#pin(slotBytes * slotsPerPage);
    for (let i = 0; i < slotsPerPage; i++) {
      const begin = i * slotBytes;
      const pinned = { address: page.address + BigInt(begin), bytes: page.bytes.subarray(begin, begin + slotBytes) };
      this.#free.push({ pinned, event: this.#newEvent() });
    }
  }

  #pin(bytes: number): Pinned {
    this.#driver.cuMemHostAlloc(this.#out.place, bytes, 0);
    const address = this.#out.pointer;
    this.#pages.push(address);
    return { address, bytes: new Uint8Array(viewMemory(address, bytes)) };
  }

  #newEvent(flags = eventWithoutTiming): bigint {
    this.#driver.cuEventCreate(this.#out.place, flags);
    this.#events.push(this.#out.pointer);
    return this.#out.pointer;
  }
}
