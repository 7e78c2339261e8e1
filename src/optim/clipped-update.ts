/** An update of the weights that asks the host nothing: the gradient's norm, clipping and AdamW follow each other on the device. */

import { allReduce, type Communicator } from '../comm/communicator.ts';
import { factorCount, rateCount, updateFactors } from '../ops/update-factors/kernels.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Parameters } from '../parallel/parameters.ts';
import { phase } from '../tensor/observer.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { AdamW } from './adamw.ts';
import { type GradientSquares, gradientSquares } from './gradient-norm.ts';

export interface UpdateOptions {
  readonly learningRate: number;
  /** Bound of the gradient's norm; 0 for none. */
  readonly clipGrad: number;
  /** What the loss was multiplied by. */
  readonly lossScale: number;
}

/**
 * `prepare` brings what the host knows of an update to the device, `run` does it, or nothing where the norm or the loss is infinite
 * or NaN. All numbers that change from update to update lie in memory, so `run` may be captured once and done again.
 */
export class ClippedUpdate implements Disposable {
  readonly #optimizer: AdamW;
  readonly #data: Communicator;
  readonly #squares: GradientSquares;
  readonly #stops: boolean;
  readonly #rates: Tensor;
  readonly #factors: Tensor;
  readonly #norm: Tensor;

  /**
   * @param tensor the ranks that split the model
   * @param data those that see other data
   * @param stops whether no update follows one that was not done: what is broken then stays as it was before it broke
   */
  constructor(
    parameters: Parameters,
    optimizer: AdamW,
    { tensor, data }: Pick<RankGrid, 'tensor' | 'data'>,
    stops: boolean,
  ) {
    this.#optimizer = optimizer;
    this.#data = data;
    this.#squares = gradientSquares(parameters, tensor);
    this.#stops = stops;
    const { engine } = this.#squares.squares;
    const zeros = (size: number): Tensor => Tensor.zeros(engine, [size], { kind: 'workspace' }).outliveScope();
    [this.#rates, this.#factors, this.#norm] = [zeros(rateCount), zeros(factorCount), zeros(1)];
  }

  prepare({ learningRate, clipGrad, lossScale }: UpdateOptions): void {
    this.#rates.write([lossScale, clipGrad, ...this.#optimizer.nextRates(learningRate)]);
  }

  /**
   * Collective over the tensor and the data group.
   *
   * @param loss this rank's sum of the loss, one element; becomes that of all data ranks
   */
  run(loss: Tensor): void {
    const { squares } = this.#squares;
    const { engine } = squares;
    phase(engine.observer, 'gradient norm', () => {
      this.#squares.measure();
      if (this.#data.size > 1) allReduce(this.#data, loss);
      updateFactors(engine, squares, loss, this.#rates, this.#factors, this.#norm, squares.size, this.#stops ? 1 : 0);
    });
    phase(engine.observer, 'optimizer', () => this.#optimizer.apply(this.#factors));
  }

  /** The norm of the gradient of the last `run`, the loss scale divided out. */
  normLater(): () => number {
    return this.#norm.itemLater();
  }

  /** Takes back that an update was counted: it was not done. */
  uncount(): void {
    this.#optimizer.steps--;
  }

  [Symbol.dispose](): void {
    for (const part of [this.#squares, this.#rates, this.#factors, this.#norm]) part[Symbol.dispose]();
  }
}
