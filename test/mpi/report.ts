/** Prints a rank's error as the command line does. */

import { MegatronError, messageOf } from '../../src/base/errors.ts';

export function reportFailure(error: unknown, rank: number): void {
  const remedy = error instanceof MegatronError && error.remedy !== undefined ? `${error.remedy}\n` : '';
  process.stderr.write(`megatron: rank ${rank}: ${messageOf(error)}\n${remedy}`);
}
