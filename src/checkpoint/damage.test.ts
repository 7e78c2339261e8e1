/** Nothing that is damaged in a checkpoint gets into a model. */

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CheckpointError } from '../base/errors.ts';
import { openCheckpoint } from './open.ts';
import { saveCheckpoint } from './save.ts';
import { assertSample, sampleMeta, sampleTensors, temporaryFolder } from './testing.ts';

test('every damaged byte, cut or missing file is seen, and the other checkpoint stays loadable', () => {
  using folder = temporaryFolder();
  saveCheckpoint({ folder: folder.path, iteration: 1, tensors: sampleTensors(1), meta: sampleMeta(1) });
  const { folder: target } = saveCheckpoint({
    folder: folder.path,
    iteration: 2,
    tensors: sampleTensors(2),
    meta: sampleMeta(2),
    attachments: [{ name: 'vocab.json', content: Buffer.from('{"a":0}') }],
  });
  const readAll = (): string => {
    using checkpoint = openCheckpoint(folder.path);
    assertSample(checkpoint);
    checkpoint.attachment('vocab.json');
    return JSON.stringify(checkpoint.manifest);
  };
  const original = readAll();
  let seen = 0;
  let harmless = 0;
  for (const name of readdirSync(target)) {
    const path = join(target, name);
    const bytes = readFileSync(path);
    const damaged: (Buffer | undefined)[] = [undefined, bytes.subarray(0, -1), bytes.subarray(0, 9), Buffer.alloc(0)];
    damaged.push(Buffer.concat([bytes, Buffer.from(' x')]));
    for (let position = 0; position < bytes.byteLength; position += name === 'manifest.json' ? 1 : 5) {
      const flipped = Buffer.from(bytes);
      flipped[position] = (flipped[position] ?? 0) ^ (1 << (position % 8));
      damaged.push(flipped);
    }
    for (const content of damaged) {
      if (content?.equals(bytes) === true) continue;
      if (content === undefined) rmSync(path);
      else writeFileSync(path, content);
      try {
        // What gets through must be without effect: one white-space character of the manifest for another.
        expect(readAll()).toBe(original);
        expect(name).toBe('manifest.json');
        harmless++;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        expect(error.remedy).toContain('iter_0000001');
        seen++;
      }
    }
    writeFileSync(path, bytes);
  }
  expect(seen).toBeGreaterThan(1000);
  expect(harmless).toBeLessThan(seen / 50);
});
