/** One rank of `megatron pretrain gpt` as a thread: what `launch` runs. */

import type { RankFunction } from '../comm/rank.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import { pretrainGpt } from './pretrain-gpt.ts';

/** What a thread cannot find out about the streams it writes to. */
export interface Terminal {
  readonly isTTY: boolean | undefined;
  readonly columns: number | undefined;
}

export interface PretrainRankData {
  readonly config: PretrainGptConfig;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
}

const rank: RankFunction<PretrainRankData, void> = async (world, { config, stdout, stderr }, run) => {
  const stream = (terminal: Terminal, target: NodeJS.WriteStream) => ({
    ...terminal,
    write: (text: string) => target.write(text),
  });
  const signal = {
    get aborted() {
      return run.stopRequested;
    },
  };
  await pretrainGpt(
    config,
    { stdout: stream(stdout, process.stdout), stderr: stream(stderr, process.stderr), signal },
    world,
  );
};

export default rank;
