/** `megatron demo` (`npm run demo`): from the text on this machine to a small GPT that writes, in a few minutes. */

import type { DemoConfig } from '../../config/demo.ts';
import type { CommandContext } from '../command-module.ts';
import { runDemo } from '../demo/run-demo.ts';

export async function run(config: DemoConfig, context: CommandContext): Promise<undefined> {
  await runDemo(config, context);
}
