/** `megatron pretrain gpt`: trains until done or until it is asked to stop, on one rank, on threads or under MPI. */

import { UsageError } from '../../base/errors.ts';
import { flagName } from '../../base/flag-name.ts';
import { checkedCommunicator } from '../../comm/checked.ts';
import { launch } from '../../comm/launch.ts';
import { underMpi } from '../../comm/mpi/launch.ts';
import { runMpi } from '../../comm/mpi/run.ts';
import { defaultGlobalBatchSize, type PretrainGptConfig } from '../../config/pretrain-gpt.ts';
import { pretrainGpt } from '../../train/pretrain-gpt.ts';
import type { PretrainRankData } from '../../train/pretrain-gpt-rank.ts';
import { formatArguments } from '../../train/report/log-lines.ts';
import type { CommandContext, TextStream } from '../command-module.ts';
import { decodedInto } from '../decoded.ts';
import { interruptible } from '../interrupt.ts';
import { describeError } from '../run.ts';

export async function run(config: PretrainGptConfig, context: CommandContext): Promise<undefined> {
  // The loop finishes its iteration, saves, and says how to go on; that is an orderly end, so the exit code is 0.
  using interrupt = interruptible('The run was stopped.');
  const { stdout, stderr } = context;
  const streams = { stdout, stderr, signal: interrupt.signal };
  const mpi = underMpi();
  if (!mpi || mpi.rank === 0) {
    const named = Object.fromEntries(Object.entries(config).map(([key, value]) => [flagName(key), value]));
    stdout.write(`${formatArguments(named)}\n`);
  }
  if (mpi) await pretrainUnderMpi(config, context, streams);
  else if (config.nprocPerNode > 1) await pretrainOnThreads(config, streams);
  else await pretrainGpt(config, streams);
}

interface Streams {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly signal: AbortSignal;
}

async function pretrainOnThreads(config: PretrainGptConfig, { stdout, stderr, signal }: Streams): Promise<void> {
  const terminal = ({ isTTY, columns }: TextStream) => ({ isTTY, columns });
  const data: PretrainRankData = { config, stdout: terminal(stdout), stderr: terminal(stderr) };
  // the sources run as .ts and the package as .js
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  await launch(config.nprocPerNode, new URL(`../../train/pretrain-gpt-rank.${extension}`, import.meta.url), data, {
    signal,
    debugCollectives: config.debugCollectives,
    threadsPerRank: config.numThreads,
    stdout: decodedInto(stdout),
    stderr: decodedInto(stderr),
  });
}

async function pretrainUnderMpi(config: PretrainGptConfig, context: CommandContext, streams: Streams): Promise<void> {
  if (config.nprocPerNode > 1) {
    throw new UsageError('--nproc-per-node starts ranks as threads, and mpirun or srun has started them as processes', {
      remedy: 'Leave out --nproc-per-node; the launcher says how many ranks there are (mpirun -np N).',
    });
  }
  const notify = (message: string): void => void streams.stderr.write(`${message}\n`);
  const report = (error: unknown): void => void streams.stderr.write(describeError(error, config.debug));
  await runMpi({ notify, report, exitCode: (error) => (error instanceof UsageError ? 2 : 1) }, async (rank) => {
    const numThreads = context.given.has('numThreads') ? config.numThreads : rank.threads;
    const { size } = rank.world;
    const globalBatchSize = context.given.has('globalBatchSize')
      ? config.globalBatchSize
      : defaultGlobalBatchSize(config, size);
    const world = config.debugCollectives ? checkedCommunicator(rank.world) : rank.world;
    await pretrainGpt({ ...config, numThreads, globalBatchSize }, streams, world);
  });
}
