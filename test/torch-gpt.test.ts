import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.ts';
import { type GptArchitecture, gptConfig } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import { weightedSum } from '../src/ops/weighted-sum/op.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { clipFactor, gradientNorm } from '../src/optim/gradient-norm.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { differenceOf, expectClose } from './support/closeness.ts';
import { describeOnEngines } from './support/engines.ts';
import { decodeFloats, type NumberSpec, numbers } from './support/numbers.ts';

interface Variant {
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  /** Base64 float32, before clipping. */
  readonly gradients?: Readonly<Record<string, string>>;
}

/** Made by bench/peers/torch_gpt_fixture.py: PyTorch in float64. */
interface Fixture {
  readonly config: Pick<
    GptArchitecture,
    'numLayers' | 'hiddenSize' | 'numAttentionHeads' | 'maxPositionEmbeddings' | 'vocabSize' | 'layernormEpsilon'
  >;
  readonly optimizer: { readonly learningRate: number; readonly weightDecay: number; readonly clip: number };
  readonly batch: number;
  readonly tokens: readonly number[];
  readonly labels: readonly number[];
  readonly mask: readonly number[];
  readonly parameters: Readonly<Record<string, NumberSpec>>;
  readonly erf: Variant;
  readonly tanh: Variant;
}

const fixture = JSON.parse(readFileSync(new URL('fixtures/torch/gpt.json', import.meta.url), 'utf8')) as Fixture;

interface Training {
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  /** Of the first step, before clipping. */
  readonly gradients: Readonly<Record<string, number[]>>;
}

/** As many steps of training on the fixture's batch as it has. */
function train(engine: Engine, gelu: 'erf' | 'tanh', steps: number, makeVocabSizeDivisibleBy = 1): Training {
  const model = new GptModel(
    gptConfig({ ...fixture.config, gelu, attentionDropout: 0, hiddenDropout: 0, makeVocabSizeDivisibleBy }),
  );
  return engine.scope(() => {
    const { parameters } = model;
    parameters.allocate(engine);
    expect(parameters.all.map(({ name }) => name)).toEqual(Object.keys(fixture.parameters));
    for (const { name, stored } of parameters.all) {
      const spec = fixture.parameters[name];
      expect(stored.shape, name).toEqual(spec?.shape);
      if (spec) stored.write(numbers(spec));
    }
    const { learningRate, weightDecay, clip } = fixture.optimizer;
    using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay });
    const sequence = fixture.tokens.length / fixture.batch;
    const shape = [fixture.batch, sequence];
    const ids = (values: readonly number[]): Tensor => Tensor.from(engine, values, shape, { dtype: 'i32' });
    const [tokens, labels] = [ids(fixture.tokens), ids(fixture.labels)];
    const positions = ids(fixture.tokens.map((_, i) => i % sequence));
    const counted = fixture.mask.reduce((sum, value) => sum + value, 0);
    const weights = Tensor.from(
      engine,
      fixture.mask.map((value) => value / counted),
      shape,
    );
    const [losses, gradientNorms]: [number[], number[]] = [[], []];
    const gradients: Record<string, number[]> = {};
    for (let step = 0; step < steps; step++) {
      parameters.clearGradients();
      engine.scope(() => {
        using tape = new Tape(engine);
        const loss = weightedSum(
          model.tokenLosses(tokens, positions, labels, { training: true, firstSample: 0 }),
          weights,
        );
        losses.push(loss.item());
        tape.backward(loss);
      });
      if (step === 0) {
        for (const { name, value, stored } of parameters.all) {
          const all = value.grad?.toArray() ?? [];
          gradients[name] = all.slice(0, stored.size);
          expect(
            all.slice(stored.size).every((number) => number === 0),
            `${name}: padding`,
          ).toBe(true);
        }
      }
      const norm = gradientNorm(parameters);
      gradientNorms.push(norm);
      optimizer.step(learningRate, clipFactor(norm, clip));
    }
    return { losses, gradientNorms, gradients };
  });
}

function expectTraining(actual: Training, expected: Variant, tolerance: number): void {
  for (const [step, loss] of actual.losses.entries()) {
    expect(Math.abs(loss - (expected.losses[step] ?? Number.NaN)), `loss of step ${step}`).toBeLessThanOrEqual(
      tolerance,
    );
  }
  expectClose(
    actual.gradientNorms,
    expected.gradientNorms.slice(0, actual.gradientNorms.length),
    tolerance,
    'gradient norms',
  );
  for (const [name, figures] of Object.entries(expected.gradients ?? {})) {
    // relative to the tensor's own largest gradient, however small that is
    expectClose(actual.gradients[name] ?? [], decodeFloats(figures), tolerance, `gradient of ${name}`, 0);
  }
}

describe('a small GPT in float64', () => {
  it('is PyTorch’s to double precision', () => {
    using engine = createReferenceEngine('f64');
    const training = train(engine, 'erf', 4);
    // kernels take their scalars as doubles here; the figures' gradients are kept as float32 (6e-8)
    for (const [step, loss] of training.losses.entries()) {
      expect(Math.abs(loss - (fixture.erf.losses[step] ?? Number.NaN)), `loss of step ${step}`).toBeLessThan(1e-10);
    }
    for (const [name, figures] of Object.entries(fixture.erf.gradients ?? {})) {
      expect(differenceOf(training.gradients[name] ?? [], decodeFloats(figures), 0).relative, name).toBeLessThan(7e-8);
    }
  });
});

// PyTorch's own float32 run is within 6e-7 (losses) and 9e-7 (gradients) of its float64 run.
describeOnEngines('a small GPT', (engine) => {
  it('has PyTorch’s loss, gradients and ten AdamW steps', () => {
    expectTraining(train(engine(), 'erf', 10), fixture.erf, 1e-5);
  });

  it('has them with the tanh GELU, and with a padded vocabulary', () => {
    expectTraining(train(engine(), 'tanh', 10, 16), fixture.tanh, 1e-5);
  });
});
