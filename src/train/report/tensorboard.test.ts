/** Event files byte for byte as TensorBoard's own writer makes them. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MegatronError } from '../../base/errors.ts';
import { crc32c, maskedCrc32c } from './crc32c.ts';
import { megatronScalars, TensorBoardWriter } from './tensorboard.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-tensorboard-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('CRC-32C has its published check values', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  // RFC 3720, B.4.
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(maskedCrc32c(Buffer.alloc(0))).toBe(0xa282ead8);
});

/** Records of these events written by TensorBoard 2.21's `RecordWriter` (PyPI), all at wall time 1700000000.5. */
const golden = {
  version: '1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110',
  restartAt13: '0f000000000000006d532b090900002040fc54d941100d3a02080120559a4f',
  scalarsAt300:
    '300000000000000095f5d05f0900002040fc54d94110ac022a220a0e0a076c6d206c6f737315000020400a100a09677261642d6e6f726d150000807fcf0805b5',
  textAt1:
    '2c00000000000000f4aecc450900002040fc54d94110012a1f0a1d0a0174420c0807120412020801420268694a0a0a060a047465787420025b41d82f',
};

test('writes the same bytes as TensorBoard', () => {
  using writer = new TensorBoardWriter(join(folder, 'deep', 'logs'), { now: () => 1700000000.5, resumeIteration: 12 });
  // Every record is on its way before the call returns.
  const bytes = (): string => readFileSync(writer.path).toString('hex');
  expect(bytes()).toBe(golden.version + golden.restartAt13);
  writer.scalars(300, { 'lm loss': 2.5, 'grad-norm': Number.POSITIVE_INFINITY });
  writer.text(1, 't', 'hi');
  expect(bytes()).toBe(golden.version + golden.restartAt13 + golden.scalarsAt300 + golden.textAt1);
});

test('a file of its own each time, named as TensorBoard expects', () => {
  const now = (): number => 1700000000.9;
  for (let run = 0; run < 3; run++) {
    using writer = new TensorBoardWriter(folder, { now, resumeIteration: 0 });
    writer.flush();
    expect(readFileSync(writer.path).byteLength).toBe(golden.version.length / 2);
  }
  expect(readdirSync(folder).sort()).toEqual(
    [0, 1, 2].map((number) => `events.out.tfevents.1700000000.${hostname()}.${process.pid}.${number}`),
  );
});

test('a folder that cannot be made is told', () => {
  writeFileSync(join(folder, 'file'), '');
  expect(() => new TensorBoardWriter(join(folder, 'file', 'logs'))).toThrow(MegatronError);
  expect(existsSync(join(folder, 'file', 'logs'))).toBe(false);
});

test('tags are Megatron’s; a figure that was not measured, or is no number, has none', () => {
  const metrics = {
    iteration: 1,
    consumedTokens: 2,
    lmLoss: 3,
    learningRate: 4,
    gradNorm: 5,
    lossScale: 6,
    skippedIterations: 0,
    elapsedMs: 7000,
    tokensPerSecond: 8,
    modelTflops: 9,
    memoryBytes: 10,
  };
  expect(megatronScalars(metrics)).toMatchObject({
    'lm loss': 3,
    'learning-rate': 4,
    'iteration-time': 7,
    throughput: 9,
  });
  expect(Object.keys(megatronScalars(metrics))).not.toContain('lm loss validation');
  expect(megatronScalars({ ...metrics, validLoss: 1, validPpl: 2 })).toMatchObject({
    'lm loss validation': 1,
    'lm loss validation ppl': 2,
  });
  // where all iterations were skipped there is no loss to average
  const skipped = { ...metrics, lmLoss: Number.NaN, gradNorm: Number.NaN, skippedIterations: 4 };
  expect(Object.keys(megatronScalars(skipped))).not.toContain('lm loss');
  expect(megatronScalars(skipped)).toMatchObject({ 'skipped-iterations': 4, 'loss-scale': 6 });
});
