/** The MPIs of this machine: what runs over several processes and hosts needs of each. */

import { developmentPackages, findMpi, type MpiInstallation, runtimeLibraries } from '../../comm/mpi/find.ts';
import { type MpiImplementation, mpiImplementations } from '../../comm/mpi/launch.ts';
import { findLaunchers } from '../../comm/mpi/launchers.ts';
import type { Component } from './findings.ts';

/** One row for each implementation: version, launcher and compiler wrapper, or what is missing of them. */
export async function examineMpi(): Promise<readonly Component[]> {
  const installations = await findMpi();
  const launchers = findLaunchers();
  const libraries = runtimeLibraries();
  return mpiImplementations.map((implementation) =>
    describeMpi(
      implementation,
      installations.find((one) => one.implementation === implementation),
      launchers.get(implementation),
      libraries.find((one) => one.implementation === implementation)?.path,
    ),
  );
}

function describeMpi(
  implementation: MpiImplementation,
  installation: Pick<MpiInstallation, 'version' | 'wrapper'> | undefined,
  launcher: string | undefined,
  library: string | undefined,
): Component {
  const use = 'runs on several hosts, one process for each rank';
  const row = (found: string | undefined): Component => ({ name: implementation, found, use });
  if (installation) {
    const version = installation.version ?? 'version unknown';
    return row(`${version}: ${launcher ?? 'no mpirun'}, ${installation.wrapper}`);
  }
  if (!launcher && !library) return row(undefined);
  return row(`${launcher ?? library}, but no mpicc (${developmentPackages[implementation].split(';')[0]})`);
}
