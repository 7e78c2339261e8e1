/** Options of the number format that a model computes in, with Megatron's names and defaults. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import type { Given } from './command.ts';
import { flag } from './flag.ts';
import { countSchema } from './shared-flags.ts';

const scaleSchema = z.number().positive();

/** The 16-bit format of activations and of the matrices that products read. */
export const formatFlags = {
  bf16: flag(z.boolean().default(false), {
    group: 'Precision',
    help: 'compute in bfloat16; weights stay in float32 beside their 16-bit copies',
  }),
  fp16: flag(z.boolean().default(false), {
    group: 'Precision',
    help: 'compute in float16; weights stay in float32 beside their 16-bit copies',
  }),
};

export const lossScaleFlags = {
  lossScale: flag(scaleSchema.optional(), {
    group: 'Precision',
    value: 'X',
    help: 'multiply the loss by this constant before the backward pass',
    default: 'a scale that adapts with --fp16, none otherwise',
  }),
  initialLossScale: flag(scaleSchema.default(2 ** 32), {
    group: 'Precision',
    value: 'X',
    help: 'where the adapting scale begins; it halves when gradients overflow',
  }),
  minLossScale: flag(scaleSchema.default(1), {
    group: 'Precision',
    value: 'X',
    help: 'the adapting scale never falls below this',
  }),
  lossScaleWindow: flag(countSchema.default(1000), {
    group: 'Precision',
    help: 'good updates in a row after which the adapting scale doubles',
  }),
  hysteresis: flag(countSchema.default(2), {
    group: 'Precision',
    help: 'overflows until the adapting scale begins to fall',
  }),
};

export interface FormatOptions {
  readonly bf16: boolean;
  readonly fp16: boolean;
}

export interface PrecisionOptions extends FormatOptions {
  readonly lossScale?: number | undefined;
  readonly initialLossScale: number;
  readonly minLossScale: number;
  readonly lossScaleWindow: number;
  readonly hysteresis: number;
}

/** @throws UsageError where both formats are asked for. */
export function checkFormat({ bf16, fp16 }: FormatOptions): void {
  if (!bf16 || !fp16) return;
  throw new UsageError('--bf16 and --fp16 contradict each other', {
    remedy: 'Keep one of the two; where a configuration file sets one, --bf16=false or --fp16=false undoes it.',
  });
}

/** Options of the scale that adapts. */
const adapting = {
  initialLossScale: '--initial-loss-scale',
  minLossScale: '--min-loss-scale',
  lossScaleWindow: '--loss-scale-window',
  hysteresis: '--hysteresis',
} as const;

/** @throws UsageError where the options contradict each other, naming the fix. */
export function checkPrecision(options: PrecisionOptions, given: Given): void {
  checkFormat(options);
  const { fp16, bf16, lossScale, initialLossScale, minLossScale } = options;
  if (lossScale !== undefined && !fp16 && !bf16) {
    throw new UsageError('--loss-scale has no effect in float32, whose gradients need no scale', {
      remedy: 'Remove it, or add --fp16.',
    });
  }
  const [, idle] = Object.entries(adapting).find(([key]) => given.has(key)) ?? [];
  if (idle !== undefined && lossScale !== undefined) {
    throw new UsageError(`${idle} contradicts --loss-scale, which is a constant`, {
      remedy: 'Keep --loss-scale alone, or remove it for a scale that adapts.',
    });
  }
  if (idle !== undefined && !fp16) {
    throw new UsageError(`${idle} has no effect without --fp16`, {
      remedy: bf16
        ? 'Remove it: bfloat16 has the range of float32 and needs no scale that adapts.'
        : 'Remove it, or add --fp16.',
    });
  }
  if (minLossScale > initialLossScale) {
    throw new UsageError(`--min-loss-scale ${minLossScale} is above --initial-loss-scale ${initialLossScale}`, {
      remedy: `Write --min-loss-scale ${initialLossScale} or less.`,
    });
  }
}
