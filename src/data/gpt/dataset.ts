/** What every data set of token samples offers; the batch source needs nothing more. */

export interface TokenSample {
  /** `[sequenceLength + 1]`: token k is the input at position k and the label at position k − 1. */
  readonly tokens: Int32Array;
}

/** Samples in their final, shuffled order. */
export interface SampleDataset {
  /** Words for messages, for example "train split of data/books". */
  readonly name: string;
  /** Samples there are. */
  readonly length: number;
  /** Tokens L that a sample has as input. */
  readonly sequenceLength: number;
  /** The sample at `index`, 0 ≤ index < length. @throws DataError where its tokens cannot be read. */
  sample(index: number): TokenSample;
}
