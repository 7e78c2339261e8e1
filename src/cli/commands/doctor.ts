/** `megatron doctor`: what this machine has, which engine would run, and what would make it faster. */

import type { DoctorConfig } from '../../config/doctor.ts';
import type { CommandContext } from '../command-module.ts';
import { examine } from '../doctor/examine.ts';
import { measureMatrixRate } from '../doctor/matrix-rate.ts';
import { report } from '../doctor/report.ts';
import { version } from '../version.ts';

export async function run(config: DoctorConfig, context: CommandContext): Promise<undefined> {
  const notify = (message: string) => context.stderr.write(`${message}\n`);
  const findings = await examine({ version: version(), measureMatrixRate: () => measureMatrixRate({ notify }) });
  // What is not there is null in JSON, so that every key is always present.
  const json = () => `${JSON.stringify(findings, (_, value: unknown) => value ?? null, 2)}\n`;
  context.stdout.write(config.json ? json() : report(findings));
}
