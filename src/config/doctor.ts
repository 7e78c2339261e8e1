/** `megatron doctor`: its options. */

import { z } from 'zod';
import { defineCommand } from './command.ts';
import { flag } from './flag.ts';
import { debugFlag } from './shared-flags.ts';

const schema = z.object({
  json: flag(z.boolean().default(false), { group: 'Output', help: 'print the findings as JSON' }),
  debug: debugFlag,
});

export type DoctorConfig = Readonly<z.output<typeof schema>>;

export const doctorCommand = defineCommand({
  name: 'doctor',
  summary: 'show what this machine has, which engine would run, how fast it is, and what would make it faster',
  examples: ['doctor', 'doctor --json'],
  schema,
  resolve: (options): DoctorConfig => options,
});
