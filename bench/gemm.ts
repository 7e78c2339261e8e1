/**
 * Our matrix products (engine, checks and FFI included): float32 against oneDNN called directly, bf16 against PyTorch, taking
 * turns.
 */

import { loadavg } from 'node:os';
import { EngineError } from '../src/base/errors.ts';
import { findOneDnn } from '../src/ffi/libraries.ts';
import { type NativeFunction, openLibrary } from '../src/ffi/native.ts';
import { matrixProduct } from '../src/ops/matmul/kernels.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createCpuEngine } from '../src/tensor/engines/cpu.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { bf16Products } from './gemm-bf16.ts';
import { benchmarkOptions, median, report, timed } from './measure.ts';

/** Products of a GPT-2 124M step at 2048 tokens: m, n, k, and which operands are transposed. */
const shapes: readonly (readonly [string, number, number, number, 0 | 1, 0 | 1])[] = [
  ['QKV forward', 2048, 2304, 768, 0, 1],
  ['projection forward', 2048, 768, 768, 0, 1],
  ['MLP up forward', 2048, 3072, 768, 0, 1],
  ['MLP down forward', 2048, 768, 3072, 0, 1],
  ['MLP up, dX', 2048, 768, 3072, 0, 0],
  ['MLP up, dW', 3072, 768, 2048, 1, 0],
  ['logits forward (an eighth)', 2048, 6288, 768, 0, 1],
  ['square', 1024, 1024, 1024, 0, 0],
];

export async function gemmBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, { type: 'all', threads: '2', rounds: '7', repeats: '3', tokens: '4096' });
  if (options.type !== 'bf16') await floatProducts(options);
  if (options.type === 'f32') return;
  const { threads, rounds, tokens } = options;
  const result = await bf16Products({ threads: Number(threads), rounds: Number(rounds), tokens: Number(tokens) });
  report('gemm-bf16', { ...result, load: loadavg(), options });
}

async function floatProducts(options: Readonly<Record<'threads' | 'rounds' | 'repeats', string>>): Promise<void> {
  const [threads, rounds, repeats] = [options.threads, options.rounds, options.repeats].map(Number) as [
    number,
    number,
    number,
  ];
  const path = findOneDnn();
  if (path === undefined) {
    throw new EngineError('this benchmark compares with oneDNN, which is missing', {
      remedy: 'apt-get install libdnnl-dev',
    });
  }
  using engine = await createCpuEngine({ threads, matrixProvider: 'onednn' });
  using own = await createCpuEngine({ threads, matrixProvider: 'own' });
  const pointer = 'pointer' as const;
  const direct = openLibrary(path).bind('dnnl_sgemm', 'int32', [
    ...(['int32', 'int32', 'int64', 'int64', 'int64', 'float', pointer, 'int64', pointer, 'int64', 'float'] as const),
    ...([pointer, 'int64'] as const),
  ]);
  const rows = shapes.map((shape) => measureShape(shape, engine, own, direct, rounds, repeats));
  report('gemm', {
    ratioToOneDnn: {
      ours: median(rows.map((row) => row.oursToOneDnn)),
      ownKernel: median(rows.map((row) => row.ownToOneDnn)),
    },
    load: loadavg(),
    options,
    engine: engine.backend.description,
    shapes: rows,
  });
}

function measureShape(
  [name, m, n, k, transposeA, transposeB]: (typeof shapes)[number],
  engine: Engine,
  own: Engine,
  direct: NativeFunction,
  rounds: number,
  repeats: number,
) {
  const onEngine = (target: Engine): (() => void) => {
    const [a, b] = [m * k, k * n].map((size) => Tensor.empty(target, [size])) as [Tensor, Tensor];
    for (const { data } of [a, b]) for (let i = 0; i < data.length; i++) data[i] = ((i * 37) % 101) / 101 - 0.5;
    const c = Tensor.empty(target, [m * n]);
    return () => matrixProduct(target, a, b, c, m, n, k, transposeA, transposeB, 0);
  };
  const flag = (transpose: 0 | 1): number => (transpose ? 'T' : 'N').charCodeAt(0);
  const [a, b, c] = [m * k, k * n, m * n].map((size) => Tensor.zeros(engine, [size])) as [Tensor, Tensor, Tensor];
  const candidates = {
    ours: onEngine(engine),
    ownKernel: onEngine(own),
    oneDnn: () => {
      direct(
        ...([flag(transposeA), flag(transposeB), m, n, k, 1, a.address, transposeA ? m : k] as const),
        ...([b.address, transposeB ? k : n, 0, c.address, n] as const),
      );
    },
  };
  const times = { ours: [] as number[], ownKernel: [] as number[], oneDnn: [] as number[] };
  for (let round = 0; round <= rounds; round++) {
    for (const key of ['ours', 'ownKernel', 'oneDnn'] as const) {
      const ms = timed(() => {
        for (let i = 0; i < repeats; i++) candidates[key]();
      });
      if (round > 0) times[key].push(ms / repeats); // the first round warms up
    }
  }
  const rate = (key: keyof typeof times): number => (2 * m * n * k) / median(times[key]) / 1e6;
  const [ours, ownKernel, oneDnn] = [rate('ours'), rate('ownKernel'), rate('oneDnn')];
  return {
    name,
    m,
    n,
    k,
    transposeA,
    transposeB,
    gflops: { ours, ownKernel, oneDnn },
    oursToOneDnn: ours / oneDnn,
    ownToOneDnn: ownKernel / oneDnn,
  };
}
