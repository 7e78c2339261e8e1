/** `megatron demo` (`npm run demo`): its options. */

import { z } from 'zod';
import { defineCommand } from './command.ts';
import { flag } from './flag.ts';
import { countSchema, debugFlag, engineFlags, pathSchema, seedFlag, threadsOrAll } from './shared-flags.ts';

const schema = z.object({
  trainIters: flag(countSchema.optional(), {
    group: 'Training',
    help: 'updates of the model',
    default: 'what fits in a few minutes',
  }),
  output: flag(pathSchema.default('demo-output'), {
    group: 'Output',
    value: 'DIR',
    help: 'folder for everything that the demo makes; started again, it goes on from there',
  }),
  restart: flag(z.boolean().default(false), {
    group: 'Output',
    help: 'remove what the demo made there and begin anew',
  }),
  seed: seedFlag,
  ...engineFlags,
  debug: debugFlag,
});

type Options = z.output<typeof schema>;

export type DemoConfig = Readonly<Omit<Options, 'numThreads'> & { numThreads: number }>;

export const demoCommand = defineCommand({
  name: 'demo',
  summary: 'from the text on this machine to a small GPT that writes, in a few minutes',
  examples: ['demo', 'demo --train-iters 100'],
  schema,
  resolve: (options: Options): DemoConfig => ({ ...options, numThreads: threadsOrAll(options.numThreads) }),
});
