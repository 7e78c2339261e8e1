/** `npm run bench -- NAME [options]`: measurements as JSON, on standard output and in bench/results/. */

import { MegatronError, messageOf } from '../src/base/errors.ts';
import { gemmBenchmark } from './gemm.ts';
import { gpuProductsBenchmark } from './gpu-products.ts';
import { opsBenchmark } from './ops.ts';
import { parityBenchmark } from './parity.ts';
import { precisionBenchmark } from './precision.ts';
import { recomputeBenchmark } from './recompute.ts';
import { scalingBenchmark } from './scaling.ts';
import { splitBenchmark } from './split.ts';
import { trainBenchmark } from './train.ts';

const benchmarks: Record<string, { readonly help: string; readonly run: (args: readonly string[]) => Promise<void> }> =
  {
    gemm: { help: "our matrix products against oneDNN and PyTorch's", run: gemmBenchmark },
    'gpu-products': {
      help: "a GPU's matrix products: cuBLASLt's choice, the fastest, epilogues",
      run: gpuProductsBenchmark,
    },
    ops: { help: "each operator's share of a training step and of this machine's limits", run: opsBenchmark },
    parity: { help: 'how far the results of all layouts are apart, on threads and under MPI', run: parityBenchmark },
    precision: { help: 'losses in float32, bf16 and fp16 on real text, as JSON and SVG', run: precisionBenchmark },
    recompute: { help: 'what recomputation saves in memory and costs in time', run: recomputeBenchmark },
    scaling: { help: "the paper's weak and strong scaling on this machine, as JSON and SVG", run: scalingBenchmark },
    split: { help: 'one rank with N threads against N ranks that split every layer', run: splitBenchmark },
    train: { help: 'whole training steps; --peer torch runs PyTorch in turn', run: trainBenchmark },
  };

const [name = '', ...args] = process.argv.slice(2);
const benchmark = benchmarks[name];
if (benchmark === undefined) {
  const list = Object.entries(benchmarks).map(([key, { help }]) => `  npm run bench -- ${key.padEnd(12)} ${help}`);
  process.stderr.write(`${name === '' ? '' : `There is no benchmark "${name}".\n`}${list.join('\n')}\n`);
  process.exitCode = 2;
} else {
  try {
    await benchmark.run(args);
  } catch (error) {
    const remedy = error instanceof MegatronError ? error.remedy : undefined;
    process.stderr.write(`bench: ${messageOf(error)}${remedy === undefined ? '' : `\n${remedy}`}\n`);
    process.exitCode = 1;
  }
}
