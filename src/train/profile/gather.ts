/** Long texts of all ranks on rank 0. */

import type { Communicator } from '../../comm/communicator.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';

/** Texts travel in pieces of so many bytes, through a tensor too small to show in the memory that a run reports. */
const pieceBytes = 64 * 1024;

/**
 * Collective.
 *
 * @returns on rank 0 the text of every rank, in their order; undefined on the others
 */
export function gatherTexts(world: Communicator, engine: Engine, text: string): string[] | undefined {
  if (world.size === 1) return [text];
  const mine = Buffer.from(text);
  const lengths = world.exchange(mine.length);
  using parcel = Tensor.empty(engine, [pieceBytes / 4], { dtype: 'i32', kind: 'workspace' });
  if (world.rank > 0) {
    const numbers = new Int32Array(parcel.size);
    for (let begin = 0; begin < mine.length; begin += pieceBytes) {
      new Uint8Array(numbers.buffer).set(mine.subarray(begin, begin + pieceBytes));
      parcel.write(numbers);
      world.send(parcel, 0);
    }
    return undefined;
  }
  return lengths.map((length, rank) => {
    if (rank === 0) return text;
    const theirs = Buffer.alloc(length);
    for (let begin = 0; begin < length; begin += pieceBytes) {
      world.receive(parcel, rank);
      const { buffer, byteOffset } = parcel.read();
      theirs.set(new Uint8Array(buffer, byteOffset, Math.min(pieceBytes, length - begin)), begin);
    }
    return theirs.toString();
  });
}
