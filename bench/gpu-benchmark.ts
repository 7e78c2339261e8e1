/** What is measured on a GPU, in which order, and what comes of it: training steps of three models, with PyTorch beside them. */

import { type AttentionVariant, attentionVariants } from '../src/tensor/launch.ts';
import { pick } from './gpt-step.ts';

export interface GpuModel {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly seq: number;
  /** Samples of a step that are tried. */
  readonly batches: readonly number[];
}

/** The paper's baseline on one GPU (Table 1), and GPT-2's two smaller sizes; tiny is for the software CUDA. */
export const gpuModels: Readonly<Record<string, GpuModel>> = {
  '1.2b': { layers: 40, hidden: 1536, heads: 16, vocabulary: 51_200, seq: 1024, batches: [8, 16, 32, 44] },
  '355m': { layers: 24, hidden: 1024, heads: 16, vocabulary: 50_304, seq: 1024, batches: [32, 64] },
  '124m': { layers: 12, hidden: 768, heads: 12, vocabulary: 50_304, seq: 1024, batches: [64, 96] },
  tiny: { layers: 2, hidden: 32, heads: 2, vocabulary: 67, seq: 16, batches: [1] },
};

/** Ways to run a step, each measured at the best batch: what each is worth on this GPU. */
export const variants = {
  usual: {},
  'algorithms chosen by measuring': { measureProducts: true },
  'kernel by kernel, without graphs': { captures: false },
  'attention by mma': { attention: 'mma' },
} as const;
export type Variant = keyof typeof variants;

/** How PyTorch may keep what runs along the residual connections. */
export const residualTypes = ['bf16', 'fp32'] as const;

/** What one process measures. */
export type Part =
  | { readonly kind: 'limits'; readonly matrix: number }
  | { readonly kind: 'steps'; readonly model: string; readonly batch: number; readonly variant: Variant }
  | {
      readonly kind: 'torch';
      readonly model: string;
      readonly batch: number;
      readonly residual: (typeof residualTypes)[number];
    }
  | { readonly kind: 'products'; readonly sizes: string }
  | { readonly kind: 'attention'; readonly variant: AttentionVariant; readonly tiny: boolean };

export interface PartResult {
  readonly error?: string;
  readonly tokensPerSecond?: number;
  readonly palmTflops?: number;
  readonly [fact: string]: unknown;
}

export interface BenchmarkOptions {
  readonly models: readonly string[];
  /** Models that PyTorch trains, too. */
  readonly peers: readonly string[];
  readonly measure: (part: Part) => Promise<PartResult>;
  readonly say: (line: string) => void;
  readonly keep: (name: string, result: object) => void;
}

/** Multiply-adds count two: NVIDIA's figure for dense bf16 on an H100 or H200. */
const peakTflops = 989;

type Run = PartResult & { readonly batch: number; readonly tokensPerSecond: number };

export async function gpuBenchmark({ models, peers, measure, say, keep }: BenchmarkOptions): Promise<void> {
  const tiny = models.every((name) => name === 'tiny');
  const limits = await measure({ kind: 'limits', matrix: tiny ? 64 : 8192 });
  const matrixTflops = Number(limits['matrixTflops']);
  say(
    `limits: ${limits.error ?? `${matrixTflops.toFixed(0)} TFLOP/s, ${Number(limits['gigabytesPerSecond']).toFixed(0)} GB/s`}`,
  );
  const measured = async (part: Extract<Part, { batch: number }>): Promise<Run> => {
    const { kind, model, batch } = part;
    const result = await measure(part);
    const { error, tokensPerSecond = 0, palmTflops } = result;
    const way = part.kind === 'steps' ? part.variant : `residuals in ${part.residual}`;
    const words =
      error ?? `${tokensPerSecond.toFixed(0)} tokens/s${palmTflops ? `, ${palmTflops.toFixed(0)} TFLOP/s (PaLM)` : ''}`;
    say(`${kind === 'torch' ? 'PyTorch' : 'ours'}, ${model}, batch ${batch}, ${way}: ${words}`);
    return { ...part, ...result, batch, tokensPerSecond };
  };
  for (const model of models) {
    const { batches, ...shape } = pick(gpuModels as Record<string, GpuModel>, model, 'model');
    const runs: Run[] = [];
    for (const batch of batches) runs.push(await measured({ kind: 'steps', model, batch, variant: 'usual' }));
    const { batch } = fastest(runs);
    const torch: Run[] = [];
    if (peers.includes(model)) {
      for (const residual of residualTypes) torch.push(await measured({ kind: 'torch', model, batch, residual }));
    }
    const others = Object.keys(variants).filter((variant): variant is Variant => variant !== 'usual');
    for (const variant of others) runs.push(await measured({ kind: 'steps', model, batch, variant }));
    const [best, peer] = [fastest(runs), torch.length > 0 ? fastest(torch) : undefined];
    const palmTflops = best.palmTflops ?? 0;
    keep(`gpu-train-${model}`, {
      ...(peer && peer.tokensPerSecond > 0 && { ratioToTorch: best.tokensPerSecond / peer.tokensPerSecond }),
      ...{ model, ...shape, shareOfPeak: palmTflops / peakTflops, shareOfMatrixRate: palmTflops / matrixTflops },
      ...{ best, limits, runs: runs.map(withoutKernels), torch },
    });
  }
  const parts: readonly Part[] = [
    // one process each: after a fault the first would take the other along
    ...attentionVariants.map((variant) => ({ kind: 'attention', variant, tiny }) as const),
    { kind: 'products', sizes: tiny ? 'tiny' : '1.2b' },
  ];
  for (const part of parts) {
    const result = await measure(part);
    const name = part.kind === 'attention' ? `attention-${part.variant}` : part.kind;
    say(`${name}: ${result.error ?? 'measured'}`);
    keep(`gpu-${name}`, result);
  }
}

/** @throws RangeError where nothing was run. */
function fastest(runs: readonly Run[]): Run {
  const [first] = runs.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond);
  if (!first) throw new RangeError('no batch was tried');
  return first;
}

const withoutKernels = ({ kernels: _, ...run }: Run): object => run;
