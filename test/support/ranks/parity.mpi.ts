/** `parity.rank.ts` as a process under mpirun: its work is in the JSON file that it is given. */

import { readFileSync } from 'node:fs';
import { runMpi } from '../../../src/comm/mpi/run.ts';
import { reportFailure } from '../../mpi/report.ts';
import { type ParityWork, parityRank } from './parity.rank.ts';

const work = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as ParityWork;
await runMpi({ report: reportFailure }, ({ world }) => parityRank(world, work));
