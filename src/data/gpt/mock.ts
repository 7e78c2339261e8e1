/** Data for `--mock-data`: learnable, endless, and the same on every machine; no file is read. */

import { ShapeError, UsageError } from '../../base/errors.ts';
import type { BuiltDatasets } from './build.ts';
import type { SampleDataset } from './dataset.ts';
import type { SampleCounts, SplitName } from './split.ts';

export interface MockDatasetOptions {
  readonly length: number;
  readonly sequenceLength: number;
  readonly vocabSize: number;
  readonly seed: number;
  /** End-of-document id, placed between documents; undefined for one endless document. */
  readonly endOfDocument?: number | undefined;
  /** Keeps splits apart; default "train". */
  readonly name?: string;
}

/** Ids that are counted through; few, so that a small model learns the rule within some hundred steps. */
const alphabet = 64;

/**
 * Every document counts: it starts anywhere among the ids 0 … 63 and adds a step of 1, 2 or 3 at every token, modulo 64,
 * for 16 to 143 tokens. After two tokens of a document everything is known, so the loss of a model that looks one token back falls from
 * ln(vocabulary) towards the few nats that starts and lengths cost. Sample i depends on (seed, name, i) alone.
 */
export function createMockDataset(options: MockDatasetOptions): SampleDataset {
  const { length, sequenceLength, vocabSize, endOfDocument } = options;
  if (vocabSize < 2) throw new UsageError(`mock data needs a vocabulary of at least 2 ids, not ${vocabSize}`);
  const name = options.name ?? 'train';
  const period = Math.min(alphabet, vocabSize);
  let salt = options.seed >>> 0;
  for (const character of name) salt = mix(salt ^ (character.codePointAt(0) ?? 0));

  return {
    name: `mock ${name} data`,
    length,
    sequenceLength,
    sample(index) {
      if (!(index >= 0 && index < length)) {
        throw new ShapeError(`the mock ${name} data has ${length} samples; there is no sample ${index}`);
      }
      const tokens = new Int32Array(sequenceLength + 1);
      let state = mix(mix(salt ^ (index >>> 0)) ^ Math.floor(index / 4294967296));
      const draw = (below: number) => {
        state = (state + 0x9e3779b9) >>> 0;
        return mix(state) % below;
      };
      for (let at = 0; at < tokens.length; ) {
        const documentLength = 16 + draw(128);
        const step = 1 + draw(3);
        let token = draw(period);
        for (let i = 0; i < documentLength && at < tokens.length; i++, at++) {
          tokens[at] = token;
          token = (token + step) % period;
        }
        if (endOfDocument !== undefined && at < tokens.length) tokens[at++] = endOfDocument;
      }
      return { tokens };
    },
  };
}

/** Mock data for all splits of a run, as `buildDatasets` gives real data. */
export function buildMockDatasets(
  options: Omit<MockDatasetOptions, 'length' | 'name'> & { readonly samples: SampleCounts },
): BuiltDatasets {
  const build = (name: SplitName) => {
    const length = options.samples[name];
    return length === 0 ? undefined : createMockDataset({ ...options, length, name });
  };
  return { train: build('train'), valid: build('valid'), test: build('test'), [Symbol.dispose]: () => undefined };
}

/** The finalizer of MurmurHash3 (Appleby, public domain): every input bit changes half of the output bits. */
function mix(word: number): number {
  let mixed = word >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
