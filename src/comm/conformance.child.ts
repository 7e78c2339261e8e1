/** A rank that runs the conformance suite; for the tests. */

import { createEngine, type DeviceName } from '../tensor/engines/select.ts';
import type { Communicator } from './communicator.ts';
import { checkCommunicator } from './conformance.ts';

export default async function (world: Communicator, data: { device: DeviceName }): Promise<number> {
  using engine = await createEngine({ device: data.device });
  checkCommunicator(world, engine);
  return world.rank;
}
