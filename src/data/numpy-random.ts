/**
 * NumPy's legacy `RandomState`, bit for bit: MT19937 (Matsumoto & Nishimura 1998) and the few draws that decide
 * Megatron's data order. The order of a data set is then the same here and there.
 */

import { UsageError } from '../base/errors.ts';

const stateLength = 624;
const shiftLength = 397;

/** Arrays that can be shuffled in place. */
export type Shuffleable = Int32Array | Uint32Array | Float64Array;

/** A stream of random numbers equal to `numpy.random.RandomState(seed)`. */
export interface NumpyRandom {
  /** The next 32 random bits, as an unsigned number. */
  nextUint32(): number;
  /** A double in [0, 1) with 53 random bits. */
  random(): number;
  /** An integer in [low, high). @throws UsageError where the range is empty or wider than 2^32. */
  randint(low: number, high: number): number;
  /** Shuffles in place, as `RandomState.shuffle` of a one-dimensional array. */
  shuffle(array: Shuffleable): void;
  /** An index in [0, probabilities.length), as `RandomState.choice(n, p=probabilities)`. */
  choice(probabilities: ArrayLike<number>): number;
}

/**
 * Starts a stream.
 *
 * @param seed an integer in [0, 2^32).
 * @throws UsageError for any other seed; NumPy refuses it too.
 */
export function createNumpyRandom(seed: number): NumpyRandom {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new UsageError(`the random seed ${seed} is not an integer from 0 to 4294967295`, {
      remedy: 'Give --seed a whole number from 0 to 4294967295.',
    });
  }
  const state = seedState(seed);
  let position = stateLength;

  function nextUint32(): number {
    if (position === stateLength) {
      regenerate(state);
      position = 0;
    }
    let word = state[position++] as number;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    word ^= word >>> 18;
    return word >>> 0;
  }

  /** Uniform in [0, maximum], by rejection of masked words; draws nothing when there is only one outcome. */
  function bounded(maximum: number): number {
    if (maximum === 0) return 0;
    const mask = 0xffffffff >>> Math.clz32(maximum);
    let word = (nextUint32() & mask) >>> 0;
    while (word > maximum) word = (nextUint32() & mask) >>> 0;
    return word;
  }

  function random(): number {
    const high = nextUint32() >>> 5;
    const low = nextUint32() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  return {
    nextUint32,
    random,
    randint(low, high) {
      const range = high - 1 - low;
      if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || range < 0 || range > 0xffffffff) {
        throw new UsageError(`randint(${low}, ${high}) needs whole numbers with 0 < high - low <= 2^32`);
      }
      return low + bounded(range);
    },
    shuffle(array) {
      if (array.length > 0x100000000) {
        throw new UsageError(`cannot shuffle ${array.length} elements: NumPy's 32-bit draws reach 4294967296`);
      }
      for (let last = array.length - 1; last > 0; last--) {
        const other = bounded(last);
        const kept = array[last] as number;
        array[last] = array[other] as number;
        array[other] = kept;
      }
    },
    choice(probabilities) {
      const cumulative = new Float64Array(probabilities.length);
      let total = 0;
      for (let i = 0; i < cumulative.length; i++) {
        total += probabilities[i] as number;
        cumulative[i] = total;
      }
      if (!(total > 0)) throw new UsageError('choice needs probabilities with a positive sum');
      const draw = random();
      let below = 0;
      let above = cumulative.length;
      // The first entry that is greater than the draw (searchsorted, side 'right').
      while (below < above) {
        const middle = (below + above) >>> 1;
        if (draw < (cumulative[middle] as number) / total) above = middle;
        else below = middle + 1;
      }
      return below;
    },
  };
}

/** `init_genrand`: the state that a 32-bit seed stands for. */
function seedState(seed: number): Uint32Array {
  const state = new Uint32Array(stateLength);
  let word = seed >>> 0;
  state[0] = word;
  for (let i = 1; i < stateLength; i++) {
    word = (Math.imul(1812433253, word ^ (word >>> 30)) + i) >>> 0;
    state[i] = word;
  }
  return state;
}

/** The next 624 untempered words, in place. */
function regenerate(state: Uint32Array): void {
  for (let i = 0; i < stateLength; i++) {
    const following = state[i + 1 === stateLength ? 0 : i + 1] as number;
    const mixed = ((state[i] as number) & 0x80000000) | (following & 0x7fffffff);
    const distant = state[i + shiftLength < stateLength ? i + shiftLength : i + shiftLength - stateLength] as number;
    state[i] = distant ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
  }
}

/**
 * The sum that `numpy.sum` gives for float64: pairwise, with eight running sums below 128 elements.
 * Weights normalized by it are equal to NumPy's in the last bit.
 */
export function numpySum(values: ArrayLike<number>, start = 0, count = values.length): number {
  if (count < 8) {
    let sum = 0;
    for (let i = start; i < start + count; i++) sum += values[i] as number;
    return sum;
  }
  if (count <= 128) {
    const running = Array.from({ length: 8 }, (_, lane) => values[start + lane] as number);
    const whole = count - (count % 8);
    for (let i = 8; i < whole; i += 8) {
      for (let lane = 0; lane < 8; lane++) {
        running[lane] = (running[lane] as number) + (values[start + i + lane] as number);
      }
    }
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = running;
    let sum = a + b + (c + d) + (e + f + (g + h));
    for (let i = whole; i < count; i++) sum += values[start + i] as number;
    return sum;
  }
  let half = Math.floor(count / 2);
  half -= half % 8;
  return numpySum(values, start, half) + numpySum(values, start + half, count - half);
}
