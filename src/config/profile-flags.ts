/** `--profile`: which steps of a run are watched, and where their trace goes. Names and meaning of the steps are Megatron's. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { flag } from './flag.ts';
import { countSchema, pathSchema } from './shared-flags.ts';

/** Steps that go before the first profiled one, and steps that are profiled, where nothing else was asked for. */
export const defaultWarmupSteps = 3;
export const defaultProfiledSteps = 3;

export const profileFlags = {
  profile: flag(pathSchema.optional(), {
    group: 'Profiling',
    value: 'FILE',
    help: 'write a trace of some steps, all ranks in one file, for https://ui.perfetto.dev or chrome://tracing; and print where their time went',
  }),
  profileStepStart: flag(z.int().min(0).optional(), {
    group: 'Profiling',
    help: 'iterations that go before the first profiled one',
    default: `${defaultWarmupSteps} of this run`,
  }),
  profileStepEnd: flag(countSchema.optional(), {
    group: 'Profiling',
    help: 'last profiled iteration',
    default: `the ${defaultProfiledSteps}rd profiled one`,
  }),
};

interface ProfileOptions {
  readonly profile?: string | undefined;
  readonly profileStepStart?: number | undefined;
  readonly profileStepEnd?: number | undefined;
  readonly trainIters: number;
}

/** @throws UsageError where the profiling options contradict each other or the length of the run. */
export function checkProfile({ profile, profileStepStart, profileStepEnd, trainIters }: ProfileOptions): void {
  const given = Object.entries({ start: profileStepStart, end: profileStepEnd }).find(([, step]) => step !== undefined);
  if (profile === undefined && given) {
    throw new UsageError(`--profile-step-${given[0]} has no effect without --profile`, {
      remedy: 'Add --profile FILE.',
    });
  }
  if (profileStepStart === undefined) return;
  if (profileStepEnd !== undefined && profileStepEnd <= profileStepStart) {
    throw new UsageError(
      `--profile-step-start ${profileStepStart} leaves nothing to profile before --profile-step-end ${profileStepEnd}`,
      { remedy: `Write --profile-step-end ${profileStepStart + 1} or more: it is the last profiled iteration.` },
    );
  }
  if (profileStepStart >= trainIters) {
    throw new UsageError(
      `--profile-step-start ${profileStepStart} is not before the last of ${trainIters} iterations`,
      {
        remedy: `Write --profile-step-start ${trainIters - 1} or less, or train longer.`,
      },
    );
  }
}
