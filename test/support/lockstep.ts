/** Makes threads do each iteration at the same time. */

/**
 * @param memory four bytes, shared by all
 * @param threads how many there are
 * @returns waits until every thread has called it with this iteration, counted from 1
 */
export function lockstep(memory: SharedArrayBuffer, threads: number): (iteration: number) => void {
  const arrived = new Int32Array(memory);
  return (iteration) => {
    Atomics.add(arrived, 0, 1);
    Atomics.notify(arrived, 0);
    for (let seen = Atomics.load(arrived, 0); seen < threads * iteration; seen = Atomics.load(arrived, 0)) {
      if (Atomics.wait(arrived, 0, seen, 60_000) === 'timed-out') throw new Error('the other threads did not come');
    }
  };
}
