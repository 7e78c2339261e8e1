/** `megatron pretrain gpt`: trains until done or until it is asked to stop. */

import { flagName } from '../../config/flag.ts';
import type { PretrainGptConfig } from '../../config/pretrain-gpt.ts';
import { pretrainGpt } from '../../train/pretrain-gpt.ts';
import { formatArguments } from '../../train/report/log-lines.ts';
import type { CommandContext } from '../command-module.ts';
import { interruptible } from '../interrupt.ts';

export async function run(config: PretrainGptConfig, context: CommandContext): Promise<undefined> {
  // The loop finishes its iteration, saves, and says how to go on; that is an orderly end, so the exit code is 0.
  using interrupt = interruptible('The run was stopped.');
  const named = Object.fromEntries(Object.entries(config).map(([key, value]) => [flagName(key), value]));
  context.stdout.write(`${formatArguments(named)}\n`);
  await pretrainGpt(config, { stdout: context.stdout, stderr: context.stderr, signal: interrupt.signal });
}
