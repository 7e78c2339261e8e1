/** A rank that runs the conformance suite with its calls watched; for the tests. */

import { createReferenceEngine } from '../tensor/engines/reference.ts';
import type { CollectiveWork } from '../tensor/observer.ts';
import type { Communicator } from './communicator.ts';
import { checkCommunicator } from './conformance.ts';
import { observedCommunicator } from './observed.ts';

/** What was told of each call that all ranks of a group make. */
export default function (world: Communicator): Omit<CollectiveWork, 'kind'>[] {
  const seen: Omit<CollectiveWork, 'kind'>[] = [];
  using engine = createReferenceEngine();
  checkCommunicator(
    observedCommunicator(world, {
      during(work, body) {
        if (work.kind === 'collective' && work.number !== undefined) {
          const { name, group, number, bytes, part } = work;
          seen.push({ name, group, number, bytes, part });
        }
        return body();
      },
    }),
    engine,
  );
  world.barrier();
  return seen;
}
