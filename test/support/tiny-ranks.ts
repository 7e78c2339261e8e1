/** A tiny `pretrain gpt` run on several ranks, each a thread, with its output collected. */

import { launch } from '../../src/comm/launch.ts';
import { parseCommandLine } from '../../src/config/command.ts';
import { pretrainGptCommand } from '../../src/config/pretrain-gpt.ts';
import type { PretrainRankData } from '../../src/train/pretrain-gpt-rank.ts';
import { type RunOptions, tinyArguments } from './tiny-run.ts';

export interface RankLayout {
  readonly tensor: number;
  readonly data: number;
}

/** What `megatron pretrain gpt --nproc-per-node …` does once its options are read. @throws RankFailure when a rank fails. */
export async function runTinyOnRanks({ tensor, data }: RankLayout, options: RunOptions): Promise<string> {
  const layout = { tensorModelParallelSize: tensor, nprocPerNode: tensor * data };
  const line = parseCommandLine(pretrainGptCommand, tinyArguments({ ...options, ...layout }).slice(2));
  if (line.help) throw new Error('no help was asked for');
  const terminal = { isTTY: false, columns: undefined };
  const work: PretrainRankData = { config: line.config, stdout: terminal, stderr: terminal };
  let text = '';
  const stream = { write: (bytes: Uint8Array) => (text += Buffer.from(bytes).toString()) };
  const module = new URL('../../src/train/pretrain-gpt-rank.ts', import.meta.url);
  await launch(tensor * data, module, work, { threadsPerRank: 1, stdout: stream, stderr: stream });
  return text;
}
