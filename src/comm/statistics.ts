/** Counts what a communicator does; two clock readings a call. */

import type { CommStatistics } from './communicator.ts';

export class StatisticsCounter implements CommStatistics {
  calls = 0;
  bytes = 0;
  seconds = 0;

  /** Runs `body` as one call that moves `bytes`, with the time it takes. */
  measure<Result>(bytes: number, body: () => Result): Result {
    const start = performance.now();
    try {
      return body();
    } finally {
      this.calls++;
      this.bytes += bytes;
      this.seconds += (performance.now() - start) / 1000;
    }
  }

  /** Adds the time of `body` to a call that was counted before. */
  prolong<Result>(body: () => Result): Result {
    const start = performance.now();
    try {
      return body();
    } finally {
      this.seconds += (performance.now() - start) / 1000;
    }
  }
}
