/** The `megatron` program. */

import { commands } from './registry.ts';
import { runCli } from './run.ts';

// `megatron … | head` closes our pipe early: that is no error, and nobody reads on. 141 is the shell's code for it.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(141);
    throw error;
  });
}

const { stdout, stderr, env: environment } = process;
process.exitCode = await runCli(process.argv.slice(2), { commands, stdout, stderr, environment });
