/** Long texts of all ranks on rank 0. */

import type { Communicator } from '../../comm/communicator.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';

/**
 * Collective.
 *
 * @returns on rank 0 the text of every rank, in their order; undefined on the others
 */
export function gatherTexts(world: Communicator, engine: Engine, text: string): string[] | undefined {
  if (world.size === 1) return [text];
  const bytes = Buffer.from(text);
  const lengths = world.exchange(bytes.length);
  const numbersIn = (length: number): number => Math.ceil(length / 4);
  const options = { dtype: 'i32', kind: 'workspace' } as const;
  if (world.rank > 0) {
    const numbers = new Int32Array(numbersIn(bytes.length));
    new Uint8Array(numbers.buffer).set(bytes);
    using parcel = Tensor.from(engine, numbers, [numbers.length], options);
    world.send(parcel, 0);
    return undefined;
  }
  return lengths.map((length, rank) => {
    if (rank === 0) return text;
    using parcel = Tensor.empty(engine, [numbersIn(length)], options);
    world.receive(parcel, rank);
    const { buffer, byteOffset } = parcel.read();
    return Buffer.from(buffer, byteOffset, length).toString();
  });
}
