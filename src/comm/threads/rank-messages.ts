/** What a launching thread gives its ranks, and what they report. */

import type { SharedRunMemory } from './shared-run.ts';

/** A rank thread's `workerData`. */
export interface RankSetup {
  readonly memory: SharedRunMemory;
  readonly worldOffset: number;
  readonly rank: number;
  /** URL of the module whose default export the rank runs. */
  readonly module: string;
  readonly data: unknown;
  readonly debugCollectives: boolean;
}

export type RankMessage =
  | { readonly type: 'returned'; readonly value: unknown }
  /** The error itself is in the shared memory. */
  | { readonly type: 'failed' }
  | {
      readonly type: 'output';
      readonly ticket: number;
      readonly stream: 'stdout' | 'stderr';
      readonly text: Uint8Array;
    };
