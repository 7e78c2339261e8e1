/** Multiplies matrices while the parent process sends signals; says whether all products agree. For `signals.test.ts`. */

import { matrixProduct } from '../../src/ops/matmul/kernels.ts';
import { createCpuEngine } from '../../src/tensor/engines/cpu.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

let signals = 0;
process.on('SIGUSR2', () => {
  signals++;
});
const n = 384;
using engine = await createCpuEngine({ threads: 2 });
const numbers = (key: number): Tensor =>
  Tensor.from(
    engine,
    Float32Array.from({ length: n * n }, (_, i) => ((i * key) % 17) - 8),
    [n, n],
  );
using a = numbers(5);
using b = numbers(3);
using first = Tensor.empty(engine, [n, n]);
using next = Tensor.empty(engine, [n, n]);
const multiply = (c: Tensor): void => matrixProduct(engine, a, b, c, n, n, n, 0, 1, 0);
multiply(first);
process.stdout.write('ready\n');
const expected = Buffer.from(first.bytes);
let agreed = 0;
let products = 0;
const end = performance.now() + 1500;
while (performance.now() < end) {
  for (let i = 0; i < 20; i++) {
    multiply(next);
    products++;
    if (expected.equals(next.bytes)) agreed++;
  }
  await new Promise(setImmediate); // signals are heard here
}
const words = agreed === products ? 'all products agree' : `${products - agreed} of ${products} products differ`;
process.stdout.write(`${words}; ${signals} signals\n`);
// a signal on its way would kill a process that no longer listens
await new Promise((resolve) => setTimeout(resolve, 300));
