/** What ranks print, put back into the order in which they printed it: each thread's messages come by a way of its own. */

import type { RankMessage } from './rank-messages.ts';

export type Output = Extract<RankMessage, { type: 'output' }>;

export class OutputOrder {
  readonly #write: (output: Output) => void;
  readonly #early = new Map<number, Output>();
  #next = 0;

  constructor(write: (output: Output) => void) {
    this.#write = write;
  }

  add(output: Output): void {
    this.#early.set(output.ticket, output);
    for (let next = this.#early.get(this.#next); next; next = this.#early.get(this.#next)) {
      this.#early.delete(this.#next++);
      this.#write(next);
    }
  }

  /** Writes what waits for a piece that will never come: a thread was ended while it printed. */
  flush(): void {
    for (const [, output] of [...this.#early].toSorted(([a], [b]) => a - b)) this.#write(output);
    this.#early.clear();
  }
}
