/** "Did you mean …": the nearest known name by edit distance. */

/**
 * Number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
 * (Optimal string alignment, row by row.)
 */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      const best = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (beforePrevious[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
      current.push(best);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/**
 * The known name that `name` was probably meant to be; undefined where none is near.
 * Underscores and capitals count as dashes and small letters, so another program's spelling is recognized.
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const plain = normalize(name);
  let nearest: string | undefined;
  let nearestDistance = Math.max(1, Math.floor(plain.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(plain, normalize(candidate));
    if (distance < nearestDistance) {
      nearest = candidate;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/** `numLayers`, `num_layers` and `Num-Layers` are all `num-layers`. */
function normalize(name: string): string {
  return name
    .replace(/([a-z\d])([A-Z])/g, '$1-$2')
    .replaceAll('_', '-')
    .toLowerCase();
}

/** Names that Megatron used at other times, or that other trainers use, and ours. */
const formerNames: ReadonlyMap<string, string> = new Map([
  ['batch-size', 'micro-batch-size'],
  ['warmup', 'lr-warmup-fraction'],
  ['out-seq-length', 'tokens-to-generate'],
  ['max-new-tokens', 'tokens-to-generate'],
  ['learning-rate', 'lr'],
  ['n-layer', 'num-layers'],
  ['n-head', 'num-attention-heads'],
  ['norm-epsilon', 'layernorm-epsilon'],
  ['threads', 'num-threads'],
  ['max-steps', 'train-iters'],
  ['train-data', 'data-path'],
]);

/** The name to propose for an unknown one: a former name of it, else the nearest. */
export function suggestName(name: string, known: readonly string[]): string | undefined {
  const former = formerNames.get(normalize(name));
  return former !== undefined && known.includes(former) ? former : nearestName(name, known);
}
