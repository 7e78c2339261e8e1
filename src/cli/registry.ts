/** All commands: schema now, code only when it runs, so that `--help` is quick. */

import { type Command, parseCommandLine } from '../config/command.ts';
import { demoCommand } from '../config/demo.ts';
import { doctorCommand } from '../config/doctor.ts';
import { generateCommand } from '../config/generate.ts';
import { preprocessCommand } from '../config/preprocess.ts';
import { pretrainGptCommand } from '../config/pretrain-gpt.ts';
import { trainTokenizerCommand } from '../config/train-tokenizer.ts';
import type { CommandContext, CommandModule } from './command-module.ts';

/** A command that can be run from its command line. */
export interface RunnableCommand {
  readonly command: Command<unknown>;
  /** @returns exit code, or 'help' where help was asked for. @throws UsageError, and whatever the command throws. */
  run(args: readonly string[], streams: Pick<CommandContext, 'stdout' | 'stderr'>): Promise<number | 'help'>;
}

function runnable<Config>(command: Command<Config>, load: () => Promise<CommandModule<Config>>): RunnableCommand {
  return {
    command,
    async run(args, streams) {
      const line = parseCommandLine(command, args);
      if (line.help) return 'help';
      const module = await load();
      return (await module.run(line.config, { ...streams, given: line.given })) ?? 0;
    },
  };
}

/** In the order of a first visit. */
export const commands: readonly RunnableCommand[] = [
  runnable(demoCommand, () => import('./commands/demo.ts')),
  runnable(doctorCommand, () => import('./commands/doctor.ts')),
  runnable(trainTokenizerCommand, () => import('./commands/train-tokenizer.ts')),
  runnable(preprocessCommand, () => import('./commands/preprocess.ts')),
  runnable(pretrainGptCommand, () => import('./commands/pretrain-gpt.ts')),
  runnable(generateCommand, () => import('./commands/generate.ts')),
];
