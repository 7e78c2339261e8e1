/** A run that saves checkpoints without pause, to be killed by `crash.test.ts`: goes on after the latest, replaces every second one, retains two. */

import { writeSync } from 'node:fs';
import { hasCheckpoint } from './list.ts';
import { openCheckpoint } from './open.ts';
import { saveCheckpoint } from './save.ts';
import { assertSample, sampleMeta, sampleTensors } from './testing.ts';

const folder = process.argv[2] ?? '';

function latest(): number {
  if (!hasCheckpoint(folder)) return 0;
  using checkpoint = openCheckpoint(folder);
  assertSample(checkpoint);
  return checkpoint.manifest.iteration;
}

for (let iteration = latest() + 1; ; iteration++) {
  for (let time = 0; time <= iteration % 2; time++) {
    saveCheckpoint({ folder, iteration, tensors: sampleTensors(iteration), meta: sampleMeta(iteration), retain: 2 });
    writeSync(1, `${iteration}\n`);
  }
}
