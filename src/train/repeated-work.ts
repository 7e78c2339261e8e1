/** Work that is done again and again: where the engine can, it is captured at its second run and only started from then on. */

import { MemoryPool } from '../tensor/allocator.ts';
import type { CapturedWork, Engine } from '../tensor/engine.ts';

/**
 * Pieces of a training step. Each runs once as it stands (kernels are compiled then, algorithms chosen), is captured when it runs
 * again, and costs the host one call ever after. All share one pool of memory: what a piece leaves behind must lie in tensors
 * that were there before.
 */
export class RepeatedWork implements Disposable {
  readonly #engine: Engine;
  readonly #pool = new MemoryPool();
  readonly #pieces = new Map<string, CapturedWork | 'ready'>();
  #captures: boolean;

  /** @param captures whether every run of a piece begins the same work */
  constructor(engine: Engine, captures: boolean) {
    this.#engine = engine;
    this.#captures = captures && engine.backend.capture !== undefined;
  }

  /** @param body does the same for the same name each time; tensors it makes end with it */
  run(name: string, body: () => void): void {
    const { capture } = this.#engine.backend;
    const once = (): void => this.borrow(() => this.#engine.scope(body));
    // whoever watches wants to see each kernel
    if (!capture || !this.#captures || this.#engine.observer) {
      once();
      return;
    }
    let piece = this.#pieces.get(name);
    if (piece === undefined) {
      once();
      this.#pieces.set(name, 'ready');
      return;
    }
    if (piece === 'ready') {
      this.#pool.fixed = true;
      piece = capture(once);
      this.#pieces.set(name, piece);
    }
    piece.run();
  }

  /** Lets other work use the pool meanwhile: nothing of it may be left when it ends. */
  borrow<Result>(body: () => Result): Result {
    return this.#engine.memory.within(this.#pool, body);
  }

  /** Captures nothing any more: what the pieces do has changed. */
  stopCapturing(): void {
    this.#captures = false;
    this.#forget();
  }

  #forget(): void {
    for (const piece of this.#pieces.values()) if (piece !== 'ready') piece[Symbol.dispose]();
    this.#pieces.clear();
    this.#pool.fixed = false;
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.#engine.memory.close(this.#pool);
  }
}
