/** A rank that takes the loss of split logits on a GPU, forward and backward, and counts how often it waits for the GPU. */

import { Tape } from '../../../src/autograd/tape.ts';
import type { Communicator, DeviceWay } from '../../../src/comm/communicator.ts';
import { crossEntropy } from '../../../src/ops/cross-entropy/op.ts';
import { weightedSum } from '../../../src/ops/weighted-sum/op.ts';
import { vocabParallelCrossEntropy } from '../../../src/parallel/vocabulary.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { createEngine } from '../../../src/tensor/engines/select.ts';
import { Tensor } from '../../../src/tensor/tensor.ts';
import { exactEngine } from '../engines.ts';
import { integers, numbers } from '../numbers.ts';
import { boxOf, difference, leaf } from './comparing.ts';

const [rows, share] = [7, 11];

export interface GpuLoss {
  readonly waits: number;
  /** Of the two ranks, and of each alone. */
  readonly ways: readonly (DeviceWay | undefined)[];
  readonly capturable: readonly boolean[];
  readonly loss: number;
  readonly gradient: number;
  /** Losses of rows where one rank has a NaN. */
  readonly diverged: readonly number[];
}

export default async function (world: Communicator): Promise<GpuLoss> {
  using engine = await createEngine({ device: 'cuda' });
  const entries = share * world.size;
  const alone = world.split(world.rank, 0, 'alone');
  const values = numbers({ shape: [rows, entries], key: 1, scale: 30 });
  const labels = integers(rows, 2, entries);
  labels[3] = -1;
  using exact = exactEngine();
  const whole = leaf(exact, values, [rows, entries]);
  const expected = lossOf(exact, whole, labels, (logits, ids) => crossEntropy(logits, ids));

  const part = { firstEntry: share * world.rank, ownEntries: share, entries };
  const split = (logits: Tensor, ids: Tensor): Tensor => vocabParallelCrossEntropy(logits, ids, part, world);
  const columns = boxOf(values, [rows, entries], [0, share * world.rank], [rows, share]);
  lossOf(engine, leaf(engine, columns, [rows, share]), labels, split); // decides how the ranks talk
  const own = leaf(engine, columns, [rows, share]);
  const found = lossOf(engine, own, labels, split);
  const gradient = own.grad?.toArray() ?? [];
  const broken = columns.map((value, i) => (world.rank === 0 && i < share ? Number.NaN : value));
  const result = {
    waits: found.waits,
    ways: [world.deviceWay, alone.deviceWay],
    capturable: [world.capturable, alone.capturable],
    loss: difference(found.losses, expected.losses),
    gradient: difference(
      gradient,
      boxOf(whole.grad?.toArray() ?? [], [rows, entries], [0, share * world.rank], [rows, share]),
      1,
    ),
    diverged: lossOf(engine, leaf(engine, broken, [rows, share]), labels, split).losses,
  };
  world.barrier();
  return result;
}

/** Losses of the rows, with the gradients of their sum. */
function lossOf(
  engine: Engine,
  logits: Tensor,
  labels: readonly number[],
  apply: (logits: Tensor, labels: Tensor) => Tensor,
): { readonly losses: readonly number[]; readonly waits: number } {
  return engine.scope(() => {
    const ids = Tensor.from(engine, labels, [rows], { dtype: 'i32' });
    const ones = Tensor.from(engine, new Array<number>(rows).fill(1), [rows]);
    let waits = 0;
    const { device } = engine.backend;
    const download = device?.download.bind(device);
    if (device && download) {
      device.download = (...given) => {
        waits++;
        download(...given);
      };
    }
    using tape = new Tape(engine);
    const losses = apply(logits, ids);
    tape.backward(weightedSum(losses, ones));
    if (device && download) device.download = download;
    return { losses: losses.toArray(), waits };
  });
}
