/** A rank that runs the conformance suite; for the tests. */

import { createEngine, type DeviceName } from '../tensor/engines/select.ts';
import type { Communicator, DeviceWay } from './communicator.ts';
import { checkCommunicator } from './conformance.ts';

export default async function (
  world: Communicator,
  data: { devices: readonly DeviceName[] },
): Promise<DeviceWay | undefined> {
  for (const device of data.devices) {
    using engine = await createEngine({ device });
    checkCommunicator(world, engine);
    // engines differ in what they can share: their memory goes back when all are through with it
    world.barrier();
  }
  return world.deviceWay;
}
