/** Kill −9 at any moment of a real run: a checkpoint always loads, and the run goes on as if nothing had been. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { hasCheckpoint, listCheckpoints, openCheckpoint } from '../src/checkpoint/index.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { startMegatron } from './support/command.ts';
import { word } from './support/numbers.ts';
import { metricsOf, runTiny, tinyArguments } from './support/tiny-run.ts';

const kills = 20;
const random = (index: number): number => word(20, index) / 2 ** 32;

/** Iterations of the lines that are whole; a line may be torn only at the end. */
function linesOf(folder: string): number[] {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').split('\n');
  lines.pop();
  return lines.map((line) => (JSON.parse(line) as { iteration: number }).iteration);
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

it('twenty times', { timeout: 300_000 }, async () => {
  using folder = temporaryFolder();
  const save = folder.path;
  const options = { trainIters: 1_000_000, saveInterval: 1, saveRetain: 2, save };
  let before = 0;
  let startUp = 500;
  for (let round = 0; round < kills; round++) {
    const load = hasCheckpoint(save) ? save : undefined;
    const startedAt = performance.now();
    const run = startMegatron(tinyArguments({ ...options, load }));
    if (round % 4 === 3) {
      // anywhere: also while it starts, loads the checkpoint and mends its metrics
      await Promise.race([setTimeout(random(round) * startUp), run.finished]);
    } else {
      // from its first save on, which a run that cannot go on would never reach
      await run.until('stderr', /saved iteration/);
      startUp = performance.now() - startedAt;
      await setTimeout(random(round) * 60);
    }
    run.process.kill('SIGKILL');
    await run.finished;
    expect(run.process.signalCode).toBe('SIGKILL');

    using checkpoint = openCheckpoint(save);
    checkpoint.verify();
    const { iteration } = checkpoint.manifest;
    expect(iteration).toBeGreaterThanOrEqual(before + (round % 4 === 3 ? 0 : 1));
    for (const item of listCheckpoints(save, { hashes: true })) expect(item.problem).toBeUndefined();
    // every iteration that a checkpoint holds has its line, none has two
    const lines = linesOf(save);
    expect(lines).toEqual(upTo(lines.length));
    expect(lines.length).toBeGreaterThanOrEqual(iteration);
    before = iteration;
  }

  const exitInterval = before + 3;
  await runTiny({ ...options, exitInterval, load: save });
  const uninterrupted = await runTiny({
    ...options,
    exitInterval,
    save: undefined,
    saveInterval: undefined,
    saveRetain: undefined,
  });
  const metrics = metricsOf(save);
  expect(metrics.map(({ iteration }) => iteration)).toEqual(upTo(exitInterval));
  expect(metrics.map(({ lmLoss }) => lmLoss)).toEqual(uninterrupted.losses);
  expect(exitInterval).toBeGreaterThan(kills / 2);
});
