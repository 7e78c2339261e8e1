/** `megatron doctor`: what this machine has, which engine would run, and what would make it faster. */

import type { DoctorConfig } from '../../config/doctor.ts';
import type { CommandContext } from '../command-module.ts';
import { examine } from '../doctor/examine.ts';
import { report } from '../doctor/report.ts';
import { version } from '../version.ts';

export async function run(config: DoctorConfig, context: CommandContext): Promise<undefined> {
  const findings = await examine({ version: version() });
  context.stdout.write(config.json ? `${JSON.stringify(findings, null, 2)}\n` : report(findings));
}
