/** Streams of the software CUDA: work waits for what it is told to wait for and for nothing else, and captures keep CUDA's rules. */

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findCompiler } from '../src/ffi/compile.ts';
import { type CudaDriver, openDriver } from '../src/ffi/cuda/driver.ts';
import { Out } from '../src/ffi/cuda/status.ts';
import { viewMemory } from '../src/ffi/native.ts';
import { buildCudaEmulator } from './support/cuda-emulator/library.ts';

const compiler = await findCompiler();
const poison = 0xff;

describe.skipIf(!compiler)('streams of the software CUDA', () => {
  const out = new Out();
  let driver: CudaDriver;
  let [first, second, event] = [0n, 0n, 0n];
  let [a, b] = [0n, 0n];

  beforeAll(async () => {
    if (!compiler) return;
    driver = openDriver(`${await buildCudaEmulator(compiler)}/libcuda.so.1`);
    driver.cuDevicePrimaryCtxRetain(out.place, 0);
    driver.cuCtxSetCurrent(out.pointer);
  });

  const made = (make: () => void): bigint => {
    make();
    return out.pointer;
  };
  beforeEach(() => {
    [first, second] = [
      made(() => driver.cuStreamCreate(out.place, 1)),
      made(() => driver.cuStreamCreate(out.place, 1)),
    ];
    event = made(() => driver.cuEventCreate(out.place, 2));
    [a, b] = [made(() => driver.cuMemAlloc_v2(out.place, 16)), made(() => driver.cuMemAlloc_v2(out.place, 16))];
  });
  afterEach(() => {
    for (const memory of [a, b]) driver.cuMemFree_v2(memory);
    for (const stream of [first, second]) driver.cuStreamDestroy_v2(stream);
  });

  const byteAt = (memory: bigint): number => new Uint8Array(viewMemory(memory, 16))[0] as number;
  const fill = (memory: bigint, value: number, stream: bigint): void =>
    driver.cuMemsetD8Async(memory, value, 16, stream);
  const copy = (stream: bigint): void => driver.cuMemcpyDtoDAsync_v2(b, a, 16, stream);

  it('show that a wait is missing, and are right with it', () => {
    fill(a, 1, first);
    copy(second);
    driver.cuStreamSynchronize(second);
    expect(byteAt(b)).toBe(poison);
    driver.cuEventRecord(event, first);
    driver.cuStreamWaitEvent(second, event, 0);
    copy(second);
    driver.cuStreamSynchronize(second);
    expect(byteAt(b)).toBe(1);
  });

  it('wait for what an event stood for when they were told to', () => {
    fill(a, 1, first);
    driver.cuEventRecord(event, first);
    driver.cuStreamWaitEvent(second, event, 0);
    fill(a, 2, first);
    driver.cuEventRecord(event, first);
    copy(second);
    driver.cuStreamSynchronize(second);
    expect(byteAt(b)).toBe(1);
    driver.cuEventSynchronize(event);
    expect(byteAt(a)).toBe(2);
  });

  it('refuse events that were never recorded, and those that are gone', () => {
    expect(() => driver.cuStreamWaitEvent(first, event, 0)).toThrow(/INVALID_HANDLE/);
    driver.cuEventRecord(event, first);
    driver.cuEventDestroy_v2(event);
    expect(() => driver.cuStreamWaitEvent(second, event, 0)).toThrow(/INVALID_HANDLE/);
    expect(() => driver.cuEventRecord(event, first)).toThrow(/INVALID_HANDLE/);
  });

  it('give a graph what they get while they capture, and that of streams that join', () => {
    const back = made(() => driver.cuEventCreate(out.place, 2));
    driver.cuStreamBeginCapture_v2(first, 2);
    fill(a, 3, first);
    driver.cuEventRecord(event, first);
    driver.cuStreamWaitEvent(second, event, 0);
    copy(second);
    driver.cuEventRecord(back, second);
    driver.cuStreamWaitEvent(first, back, 0);
    driver.cuStreamEndCapture(first, out.place);
    driver.cuStreamSynchronize(second);
    expect([byteAt(a), byteAt(b)]).toEqual([poison, poison]);
    driver.cuGraphInstantiateWithFlags(out.place, out.pointer, 0);
    driver.cuGraphLaunch(out.pointer, first);
    driver.cuStreamSynchronize(first);
    expect([byteAt(a), byteAt(b)]).toEqual([3, 3]);
  });

  it('hold captures to the rules: no waits of the host, none for the past, and all streams come back', () => {
    const past = made(() => driver.cuEventCreate(out.place, 2));
    driver.cuEventRecord(past, second);
    driver.cuStreamBeginCapture_v2(first, 2);
    expect(() => driver.cuStreamSynchronize(first)).toThrow(/900/);
    expect(() => driver.cuStreamWaitEvent(first, past, 0)).toThrow(/905/);
    driver.cuEventRecord(event, first);
    expect(() => driver.cuEventSynchronize(event)).toThrow(/907/);
    driver.cuStreamWaitEvent(second, event, 0);
    copy(second);
    expect(() => driver.cuStreamEndCapture(first, out.place)).toThrow(/904/);
  });
});
