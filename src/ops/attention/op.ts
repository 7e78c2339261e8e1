/**
 * Multi-head attention: softmax(q kᵀ / √d) v for each head (Vaswani et al. 2017), read from and written to fused tensors in
 * place. The s×s scores exist a tile at a time (Dao et al. 2022, "FlashAttention"), and tiles that the mask hides are skipped.
 */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError, UsageError } from '../../base/errors.ts';
import { expectShape, formatShape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { counterTensors, type DropoutAt } from '../dropout/op.ts';
import { appendToCache, attentionBackward, attentionForward } from './kernels.ts';
import { type AttentionProblem, argumentsOf, type Strides } from './problem.ts';

export interface AttentionOptions {
  /** n, the heads in `qkv`. */
  readonly heads: number;
  /** Position i sees positions ≤ i. Default true. */
  readonly causal?: boolean;
  /** int32 [b, s]: the first position that each position may see (its document's start); 0 where not given. */
  readonly firstKey?: Tensor | undefined;
  /** Dropout of the probabilities; none where not given. */
  readonly dropout?: DropoutAt | undefined;
  /**
   * Number, in the whole model, of the first head, where ranks hold a slice of the heads: dropout depends on it, so that
   * every layout draws the same masks. Default 0.
   */
  readonly headOffset?: number;
}

interface FusedShape {
  readonly batch: number;
  readonly sequence: number;
  readonly heads: number;
  /** d */
  readonly width: number;
}

/** Sizes of qkv [b, s, 3h], which is [b, s, n, 3, d]. */
function shapeOf(name: string, qkv: Tensor, heads: number): FusedShape {
  const [batch, sequence, channels] = qkv.shape;
  if (batch === undefined || sequence === undefined || channels === undefined || qkv.shape.length !== 3 || !qkv.size) {
    throw new ShapeError(`${name}: qkv must be [b, s, 3h], got ${formatShape(qkv.shape)}`);
  }
  if (!Number.isInteger(heads) || heads < 1 || channels % (3 * heads) !== 0) {
    throw new ShapeError(`${name}: ${channels} channels of qkv are not a query, a key and a value for ${heads} heads`, {
      remedy: 'The hidden size must be a multiple of the number of attention heads.',
    });
  }
  return { batch, sequence, heads, width: channels / (3 * heads) };
}

const fusedStrides = ({ sequence, heads, width }: FusedShape): Strides => ({
  batch: sequence * heads * 3 * width,
  row: heads * 3 * width,
  head: 3 * width,
});

/** Queries, keys and values of a fused tensor: the same memory, each from its own first element on. */
function withParts<Result>(qkv: Tensor, width: number, use: (q: Tensor, k: Tensor, v: Tensor) => Result): Result {
  using k = qkv.view([qkv.size - width], width);
  using v = qkv.view([qkv.size - 2 * width], 2 * width);
  return use(qkv, k, v);
}

function problemFor(name: string, shape: FusedShape, options: AttentionOptions): AttentionProblem {
  const { batch, sequence, heads, width } = shape;
  const { causal = true, firstKey, dropout, headOffset = 0 } = options;
  if (firstKey) expectShape(name, 'firstKey', firstKey.shape, [batch, sequence]);
  const { probability, seed, site, firstSample } = dropout ?? { probability: 0, seed: 0, site: 0, firstSample: 0 };
  if (!(probability >= 0 && probability < 1)) {
    throw new UsageError(`${name}: the dropout probability must be in [0, 1), got ${probability}`);
  }
  const strides = fusedStrides(shape);
  return {
    ...{ batch, heads, queries: sequence, keys: sequence, offset: 0, width, query: strides, key: strides },
    ...{ scale: 1 / Math.sqrt(width), causal, probability, seed, site, firstSample, sequence, headOffset },
  };
}

/**
 * Self-attention for training.
 *
 * @param qkv [b, s, 3h] seen as [b, s, n, 3, d]: for each head its query, key and value
 * @returns [b, s, h]
 * @throws ShapeError when 3·heads does not divide the last size, or firstKey is not [b, s].
 */
export function attention(qkv: Tensor, options: AttentionOptions): Tensor {
  const { engine } = qkv;
  const { firstKey } = options;
  const shape = shapeOf('attention', qkv, options.heads);
  const { batch, sequence, heads, width } = shape;
  const problem = argumentsOf(problemFor('attention', shape, options));
  using logSumExp = Tensor.empty(engine, [batch, heads, sequence]);
  return runOperator({
    name: 'attention',
    inputs: [qkv],
    shape: [batch, sequence, heads * width],
    saved: [qkv, logSumExp, firstKey, ...counterTensors(options.dropout?.firstSample ?? 0)],
    saveOutput: true,
    forward: (out) =>
      withParts(qkv, width, (q, k, v) => attentionForward(engine, q, k, v, out, logSumExp, firstKey, ...problem)),
    backward: (dOut, gradients, out) =>
      gradients.into(qkv, (dQkv, accumulate) =>
        withParts(qkv, width, (q, k, v) =>
          withParts(dQkv, width, (dq, dk, dv) =>
            attentionBackward(
              engine,
              q,
              k,
              v,
              out,
              logSumExp,
              firstKey,
              dOut,
              dq,
              dk,
              dv,
              accumulate ? 1 : 0,
              ...problem,
            ),
          ),
        ),
      ),
  });
}

/** Keys and values of the positions before, both [b, S, n, d]. */
export interface AttentionCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface CachedAttentionOptions {
  /** n */
  readonly heads: number;
  /** Positions that the cache holds; the new ones go behind them. */
  readonly position: number;
  /** int32 [b, s]: the first position that each new position may see; 0 where not given. */
  readonly firstKey?: Tensor | undefined;
}

/**
 * Causal self-attention of new positions to themselves and those in a cache, which takes up their keys and values. For
 * generation: nothing is recorded.
 *
 * @param qkv [b, s, 3h]: the new positions `position` … `position + s − 1`
 * @returns [b, s, h]
 * @throws ShapeError when the cache does not fit or is full.
 */
export function attentionWithCache(qkv: Tensor, cache: AttentionCache, options: CachedAttentionOptions): Tensor {
  const name = 'attentionWithCache';
  const { engine } = qkv;
  const { position, firstKey } = options;
  const shape = shapeOf(name, qkv, options.heads);
  const { batch, sequence, heads, width } = shape;
  const capacity = cache.keys.shape[1] ?? 0;
  expectShape(name, 'keys', cache.keys.shape, [batch, capacity, heads, width]);
  expectShape(name, 'values', cache.values.shape, cache.keys.shape);
  if (!(position >= 0 && position + sequence <= capacity)) {
    throw new ShapeError(
      `${name}: positions ${position} … ${position + sequence - 1} do not fit a cache of ${capacity}`,
      {
        remedy: 'Make the cache as long as the prompt and all that will be generated.',
      },
    );
  }
  appendToCache(engine, qkv, cache.keys, cache.values, batch, sequence, heads, width, position, capacity);
  const problem = argumentsOf({
    ...problemFor(name, shape, { heads, firstKey }),
    keys: position + sequence,
    offset: position,
    key: { batch: capacity * heads * width, row: heads * width, head: width },
    sequence: capacity,
  });
  const out = Tensor.empty(engine, [batch, sequence, heads * width], { dtype: qkv.dtype });
  using logSumExp = Tensor.empty(engine, [batch, heads, sequence], { kind: 'workspace' });
  attentionForward(engine, qkv, cache.keys, cache.values, out, logSumExp, firstKey, ...problem);
  return out;
}
