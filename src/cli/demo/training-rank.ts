/** One of the demo's two ranks: trains its half of every layer; rank 0 tells the launching thread what happens. */

import type { RankFunction } from '../../comm/rank.ts';
import type { PretrainGptConfig } from '../../config/pretrain-gpt.ts';
import type { ExitReason, LoopEvents } from '../../train/loop.ts';
import { pretrainGpt } from '../../train/pretrain-gpt.ts';

/** What a line of the rank's output says: an event of the loop, by name. */
export type EventLine = {
  readonly [Name in 'stepped' | 'validating' | 'saved']: {
    readonly name: Name;
    readonly values: Parameters<NonNullable<LoopEvents[Name]>>;
  };
}['stepped' | 'validating' | 'saved'];

export type DemoOutcome = { readonly reason: ExitReason; readonly iteration: number };

const rank: RankFunction<PretrainGptConfig, DemoOutcome> = (world, config, run) => {
  const tell = (line: EventLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  const sink = { write: () => {} };
  const signal = {
    get aborted() {
      return run.stopRequested;
    },
  };
  const events: LoopEvents = {
    stepped: (...values) => tell({ name: 'stepped', values }),
    validating: (...values) => tell({ name: 'validating', values }),
    saved: (...values) => tell({ name: 'saved', values }),
  };
  return pretrainGpt(config, { stdout: sink, stderr: sink, logLines: false, signal, events }, world);
};

export default rank;
