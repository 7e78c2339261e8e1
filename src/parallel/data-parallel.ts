/** Data parallelism: gradients are summed over the ranks in buckets, each as soon as backward has finished with it. */

import type { Communicator, Pending } from '../comm/communicator.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Parameters } from './parameters.ts';

/** Buckets hold at least this many numbers (16 MB): long enough to be worth a collective, short enough to start early. */
export const defaultBucketSize = 4 * 1024 * 1024;

interface Bucket {
  readonly gradients: Tensor;
  readonly leaves: ReadonlySet<Tensor>;
  missing: number;
}

/**
 * Sums gradients over a data-parallel group. `begin` before the last micro-batch's backward pass, `leafReady` as its leaves
 * complete, `finish` after it: reductions that have begun proceed while backward goes on. Every rank runs the same model, so
 * all begin them in the same order.
 */
export class GradientReducer implements Disposable {
  readonly #group: Communicator;
  readonly #buckets: readonly Bucket[];
  readonly #bucketOf: ReadonlyMap<Tensor, Bucket>;
  readonly #pending: Pending[] = [];

  constructor(parameters: Parameters, group: Communicator, bucketSize = defaultBucketSize) {
    this.#group = group;
    this.#buckets = group.size === 1 ? [] : cutBuckets(parameters, bucketSize);
    this.#bucketOf = new Map(this.#buckets.flatMap((bucket) => [...bucket.leaves].map((leaf) => [leaf, bucket])));
  }

  /** Whether there is anybody to sum with. */
  get isNeeded(): boolean {
    return this.#buckets.length > 0;
  }

  begin(): void {
    for (const bucket of this.#buckets) bucket.missing = bucket.leaves.size;
  }

  leafReady(leaf: Tensor): void {
    const bucket = this.#bucketOf.get(leaf);
    if (bucket && --bucket.missing === 0) this.#start(bucket);
  }

  /** Waits for all sums; parameters that backward never reached are summed now. */
  finish(): void {
    for (const bucket of this.#buckets) {
      if (bucket.missing > 0) {
        bucket.missing = 0;
        this.#start(bucket);
      }
    }
    for (const pending of this.#pending.splice(0)) pending.finish();
  }

  #start(bucket: Bucket): void {
    this.#pending.push(this.#group.startAllReduce(bucket.gradients, 'sum'));
  }

  [Symbol.dispose](): void {
    for (const { gradients } of this.#buckets) gradients[Symbol.dispose]();
  }
}

/** Neighbours in the flat buffers share a bucket. The last parameters come first, as backward reaches them first. */
function cutBuckets(parameters: Parameters, bucketSize: number): Bucket[] {
  return parameters.groups.flatMap(({ gradients, parameters: members, starts }) => {
    if (!gradients) return [];
    const buckets: Bucket[] = [];
    let end = gradients.size;
    let leaves = new Set<Tensor>();
    for (let i = members.length - 1; i >= 0; i--) {
      const [member, start] = [members[i], starts[i] ?? 0];
      if (member) leaves.add(member.value);
      if (end - start < bucketSize && i > 0) continue;
      const view = gradients.view([end - start], start).outliveScope();
      buckets.push({ gradients: view, leaves, missing: 0 });
      end = start;
      leaves = new Set();
    }
    return buckets;
  });
}
