/** The vocabulary split over the ranks of a tensor group: embedding, logits and their loss (paper §3). */

import { runOperator } from '../autograd/record.ts';
import { ShapeError } from '../base/errors.ts';
import { allReduce, type Communicator } from '../comm/communicator.ts';
import {
  crossEntropyBackward,
  crossEntropyMaximum,
  crossEntropyOfSums,
  crossEntropySums,
} from '../ops/cross-entropy/kernels.ts';
import { crossEntropy } from '../ops/cross-entropy/op.ts';
import { embedding } from '../ops/embedding/op.ts';
import { linear } from '../ops/linear/op.ts';
import { formatShape, lastOf, rowsOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { copyToGroup, reduceFromGroup } from './mappings.ts';
import type { Parameter, Parameters } from './parameters.ts';

export interface VocabularySize {
  /** v, without padding. */
  readonly entries: number;
  readonly width: number;
  /** Each rank's rows in memory are a multiple of this. */
  readonly divisibleBy: number;
  readonly deviation: number;
}

/** A table [v, h] whose rows are split over the group; rows behind the vocabulary's end are padding and stay zero. */
export class VocabParallelEmbedding {
  readonly weight: Parameter;
  readonly #entries: number;
  /** Rows of this rank that belong to the vocabulary. */
  readonly #ownEntries: number;
  readonly #first: number;
  readonly #group: Communicator;

  constructor(parameters: Parameters, name: string, size: VocabularySize, group: Communicator) {
    const { entries, width, divisibleBy, deviation } = size;
    const rows = Math.ceil(entries / (divisibleBy * group.size)) * divisibleBy;
    const first = Math.min(entries, group.rank * rows);
    const own = Math.min(rows, entries - first);
    this.weight = parameters.declare({
      name: `${name}.weight`,
      globalShape: [entries, width],
      ...(group.size === 1 ? {} : { slice: { offset: [first, 0], shape: [own, width] } }),
      paddedRows: rows,
      initial: { kind: 'normal', deviation },
      decay: true,
    });
    this.#entries = entries;
    this.#ownEntries = own;
    this.#first = first;
    this.#group = group;
  }

  /** int32 [..., ] → [..., h] on every rank: each looks up its own rows, g adds them up. */
  forward(ids: Tensor): Tensor {
    using partial = embedding(ids, this.weight.value, { first: this.#first, entries: this.#entries });
    return reduceFromGroup(partial, this.#group);
  }

  /** [..., h] → [..., rows of this rank]: logits by the same table, each rank its own columns. */
  logits(hidden: Tensor): Tensor {
    using copied = copyToGroup(hidden, this.#group);
    return linear(copied, this.weight.value);
  }

  /** [..., h] → [..., t · rows of a rank]: the logits of all ranks, on every rank; for generation, without gradients. */
  gatheredLogits(hidden: Tensor): Tensor {
    const own = this.logits(hidden);
    if (this.#group.size === 1) return own;
    using part = own; // [tokens, rows]
    const [rows, tokens] = [lastOf(part.shape), rowsOf(part.shape)];
    using parts = Tensor.empty(part.engine, [this.#group.size, tokens, rows], { kind: 'workspace', dtype: part.dtype });
    this.#group.allGather(part, parts);
    const all = Tensor.empty(part.engine, [...hidden.shape.slice(0, -1), this.#group.size * rows], {
      dtype: part.dtype,
    });
    for (let rank = 0; rank < this.#group.size; rank++) {
      for (let token = 0; token < tokens; token++) {
        const source = (rank * tokens + token) * rows;
        using to = all.view([rows], (token * this.#group.size + rank) * rows);
        using from = parts.view([rows], source);
        to.copyFrom(from);
      }
    }
    return all;
  }

  /**
   * The loss of each token from logits that stay split: three reductions of b·s numbers instead of gathering b·s·v.
   *
   * @param logits [..., rows of this rank]
   * @param labels int32 [...], the same on every rank
   * @returns [...], one loss a token, in nats, the same on every rank
   */
  loss(logits: Tensor, labels: Tensor): Tensor {
    if (this.#group.size === 1) return crossEntropy(logits, labels, { entries: this.#entries });
    const part = { firstEntry: this.#first, ownEntries: this.#ownEntries, entries: this.#entries };
    return vocabParallelCrossEntropy(logits, labels, part, this.#group);
  }
}

export interface VocabularyPart {
  /** The vocabulary's number of this rank's first column. */
  readonly firstEntry: number;
  /** Columns of this rank that belong to the vocabulary; later ones are padding and take no part. */
  readonly ownEntries: number;
  /** v, over all ranks. */
  readonly entries: number;
}

/**
 * Cross-entropy of logits whose columns are split over a group (Megatron-LM's vocab_parallel_cross_entropy): the maxima
 * are reduced, then Σ exp and the label's logit, which only its owner knows. Nothing of it waits for a device, and backward needs no
 * communication.
 *
 * @param logits [..., columns of this rank]; backward writes the gradient over them
 * @param labels int32 [...]; a label outside the vocabulary gives loss 0 and no gradient
 * @returns [...]
 */
export function vocabParallelCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  part: VocabularyPart,
  group: Communicator,
): Tensor {
  const { engine } = logits;
  const { firstEntry, ownEntries, entries } = part;
  const stride = lastOf(logits.shape);
  const rows = rowsOf(logits.shape);
  if (labels.size !== rows) {
    throw new ShapeError(
      `vocabParallelCrossEntropy: ${formatShape(labels.shape)} labels for ${formatShape(logits.shape)}`,
    );
  }
  using statistics = Tensor.empty(engine, [rows, 2]); // each row's largest logit, and 1 / Σ exp(logit − largest)
  return runOperator({
    name: 'vocabParallelCrossEntropy',
    inputs: [logits],
    shape: labels.shape,
    dtype: engine.floatType,
    saved: [logits, labels, statistics],
    forward: (loss) => {
      using maximum = Tensor.empty(engine, [rows], { kind: 'workspace' });
      using sums = Tensor.empty(engine, [2, rows], { kind: 'workspace' });
      crossEntropyMaximum(engine, logits, maximum, rows, ownEntries, stride);
      allReduce(group, maximum, 'max');
      crossEntropySums(engine, logits, labels, maximum, sums, rows, ownEntries, stride, firstEntry);
      allReduce(group, sums, 'sum');
      crossEntropyOfSums(engine, labels, maximum, sums, loss, statistics, rows, entries);
    },
    backward: (dLoss, gradients) => {
      using copy = gradients.mayOverwrite(logits) ? undefined : Tensor.copyOf(logits);
      const dLogits = copy ?? logits;
      crossEntropyBackward(
        ...([engine, dLogits, labels, statistics, dLoss, rows, ownEntries, stride, firstEntry, entries] as const),
      );
      gradients.pass(logits, dLogits);
    },
  });
}
