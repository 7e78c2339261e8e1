/** The options of recomputation, with Megatron's names, and what follows from them. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import type { Recomputation } from '../model/recomputation.ts';
import type { Given } from './command.ts';
import { flag } from './flag.ts';
import { countSchema } from './shared-flags.ts';

export const recomputeFlags = {
  recomputeGranularity: flag(z.enum(['full', 'selective']).optional(), {
    group: 'Memory',
    value: 'WHAT',
    help: 'activations to compute again in backward instead of keeping them: those of whole layers (least memory), or of layer norms and GELU alone (hardly any time)',
    default: 'none',
  }),
  recomputeMethod: flag(z.enum(['uniform', 'block']).default('uniform'), {
    group: 'Memory',
    value: 'HOW',
    help: 'which layers full recomputation takes: all, in groups that keep their input alone, or the first ones, each by itself',
  }),
  recomputeNumLayers: flag(countSchema.default(1), {
    group: 'Memory',
    help: 'layers of a group (uniform), or layers that are recomputed (block)',
  }),
};

interface Options {
  readonly numLayers: number;
  readonly recomputeGranularity?: 'full' | 'selective' | undefined;
  readonly recomputeMethod: 'uniform' | 'block';
  readonly recomputeNumLayers: number;
}

/** @throws UsageError where the options contradict each other. */
export function checkRecomputation(options: Options, given: Given): void {
  const { numLayers, recomputeGranularity, recomputeNumLayers } = options;
  for (const [key, name] of [
    ['recomputeMethod', '--recompute-method'],
    ['recomputeNumLayers', '--recompute-num-layers'],
  ] as const) {
    if (given.has(key) && recomputeGranularity !== 'full') {
      throw new UsageError(`${name} has no effect without --recompute-granularity full`, {
        remedy: `Add --recompute-granularity full, or remove ${name}.`,
      });
    }
  }
  if (recomputeNumLayers > numLayers) {
    throw new UsageError(`--recompute-num-layers ${recomputeNumLayers} is more than the ${numLayers} of --num-layers`, {
      remedy: `Choose 1 to ${numLayers}.`,
    });
  }
}

/** What the model is told. */
export function recomputationOf(options: Options): Recomputation {
  const { recomputeGranularity: granularity, recomputeMethod: method, recomputeNumLayers: numLayers } = options;
  return granularity === 'full' ? { granularity, method, numLayers } : { granularity: granularity ?? 'none' };
}
