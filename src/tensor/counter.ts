/**
 * Counters: whole numbers that choose random draws. Given as numbers, or as tensors where work is captured once and done again:
 * a number is then part of the work, a tensor is read anew each time.
 */

import { EngineError } from '../base/errors.ts';
import type { Engine } from './engine.ts';
import { Tensor } from './tensor.ts';

/** A whole number of at most 53 bits, or an int32 tensor [2] with its low and its high word. */
export type Counter = number | Tensor;

export const counterShape = [2] as const;

/** The words of a counter, as tensors hold them. */
export const counterWords = (value: number): [low: number, high: number] => [value | 0, Math.floor(value / 2 ** 32)];

/** The number whose `counterWords` these are. */
export const wordsCounter = (low: number, high: number): number => (high >>> 0) * 2 ** 32 + (low >>> 0);

/** A counter in an engine's memory. */
export const counterTensor = (engine: Engine, value: number): Tensor =>
  Tensor.from(engine, counterWords(value), counterShape, { dtype: 'i32', kind: 'workspace' });

/** The number, wherever it is; on a GPU this waits. */
export function counterValue(counter: Counter): number {
  if (typeof counter === 'number') return counter;
  if (!isCounterTensor(counter)) {
    throw new EngineError(`a counter is an int32 tensor [2], not ${counter.dtype} [${counter.shape.join(', ')}]`);
  }
  const [low = 0, high = 0] = counter.read();
  return wordsCounter(low, high);
}

export const isCounterTensor = ({ dtype, size }: Tensor): boolean => dtype === 'i32' && size === 2;
