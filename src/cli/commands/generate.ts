/** `megatron generate`: a trained model writes, token by token, on one rank, on threads or under MPI. */

import { UsageError } from '../../base/errors.ts';
import { RankFailure } from '../../comm/errors.ts';
import { launch } from '../../comm/launch.ts';
import { type MpiLaunch, underMpi } from '../../comm/mpi/launch.ts';
import { runMpi } from '../../comm/mpi/run.ts';
import type { GenerateConfig } from '../../config/generate.ts';
import { generateText } from '../../generate/generate-text.ts';
import type { CommandContext } from '../command-module.ts';
import { decodedInto } from '../decoded.ts';
import { describeError } from '../run.ts';

export async function run(config: GenerateConfig, context: CommandContext): Promise<undefined> {
  const mpi = underMpi();
  if (mpi) await generateUnderMpi(config, context, mpi);
  else if (config.tensorModelParallelSize > 1) await generateOnThreads(config, context);
  else await generateText(config, context);
}

async function generateOnThreads(config: GenerateConfig, { stdout, stderr }: CommandContext): Promise<void> {
  // the sources run as .ts and the package as .js
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const module = new URL(`../../generate/generate-text-rank.${extension}`, import.meta.url);
  try {
    await launch(config.tensorModelParallelSize, module, config, {
      ...{ debugCollectives: config.debugCollectives, threadsPerRank: config.numThreads },
      ...{ stdout: decodedInto(stdout), stderr: decodedInto(stderr) },
    });
  } catch (error) {
    // what the user asked for is as wrong on one rank as on all
    throw error instanceof RankFailure && error.cause instanceof UsageError ? error.cause : error;
  }
}

async function generateUnderMpi(config: GenerateConfig, context: CommandContext, launch: MpiLaunch): Promise<void> {
  const { stderr, given } = context;
  const notify = (message: string): void => void stderr.write(`${message}\n`);
  const report = (error: unknown): void => void stderr.write(describeError(error, config.debug));
  const exitCode = (error: unknown): number => (error instanceof UsageError ? 2 : 1);
  const { debugCollectives, tensorModelParallelSize: size } = config;
  await runMpi({ launch, notify, report, exitCode, debugCollectives }, async ({ world, threads }) => {
    if (world.size !== size) {
      throw new UsageError(
        `${launch.launcher} started ${world.size} ranks, and --tensor-model-parallel-size is ${size}`,
        {
          remedy: `All ranks split one model: write --tensor-model-parallel-size ${world.size}.`,
        },
      );
    }
    const numThreads = given.has('numThreads') ? config.numThreads : threads;
    await generateText({ ...config, numThreads }, context, world);
  });
}
