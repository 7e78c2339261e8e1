import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import {
  evaluate,
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { logSoftmax, softmax } from './op.ts';

const forms = { softmax, logSoftmax };
type Form = keyof typeof forms;
const names: readonly Form[] = ['softmax', 'logSoftmax'];

const softmaxCase = (form: Form, shape: readonly number[], scale = 3, offset = 0): OperatorCase<'x'> => ({
  inputs: { x: { shape, key: 21, scale, offset } },
  apply: ({ x }) => forms[form](x),
});

describe.each(names)('%s', (form) => {
  it.each([[[3, 1]], [[2, 3, 5]], [[2, 17]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(softmaxCase(form, shape));
  });
});

// One exponential (2 units in the last place of 6e-8) and two sums over a row.
const tolerances = { output: 1e-6, gradient: 2e-6 };

describeOnEngines('softmax', (engine) => {
  describe.each(names)('%s', (form) => {
    it.each([[[1, 1]], [[7, 1]], [[17, 5]], [[3, 7, 17]], [[5, 65]], [[67, 257]], [[2, 5003]]])(
      'agrees with float64 at %j',
      (shape) => expectAgreesWithExact(engine(), softmaxCase(form, shape), tolerances),
    );

    it('adds to gradients that are there', () => expectAccumulates(engine(), softmaxCase(form, [3, 17])));

    it('agrees with float64 for logits a thousand times as large', () => {
      expectAgreesWithExact(engine(), softmaxCase(form, [7, 65], 3000), tolerances);
    });

    it('does not depend on a common offset', () => {
      // 1e4 + i is exact in float32, so the results must be those without the offset
      const values = Array.from({ length: 17 }, (_, i) => (i * 5) % 17);
      const shifted = values.map((value) => value + 1e4);
      const run = (x: readonly number[]) =>
        evaluate(engine(), {
          inputs: { x: { shape: [1, 17], values: x } },
          apply: ({ x }) => forms[form](x as Tensor),
        });
      expect(run(shifted)).toEqual(run(values));
    });

    it('gives NaN to a row with NaN or +infinity, and to no other', () => {
      const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
      using x = Tensor.from(engine(), [1, nan, 2, 1, 2, 3, infinity, 0, 0, nan, nan, nan], [4, 3]);
      using y = forms[form](x);
      const values = y.toArray();
      expect(values.map(Number.isNaN)).toEqual([0, 1, 2, 3].flatMap((row) => new Array<boolean>(3).fill(row !== 1)));
    });

    it('gives no weight to −infinity', () => {
      using x = Tensor.from(engine(), [0, Number.NEGATIVE_INFINITY, 0], [1, 3]);
      using y = forms[form](x);
      const half = form === 'softmax' ? 0.5 : Math.fround(-Math.LN2);
      expect(y.toArray()).toEqual([half, form === 'softmax' ? 0 : Number.NEGATIVE_INFINITY, half]);
    });
  });

  it.each(['width 1', 'width 65', 'width 257', 'large'])('gives PyTorch’s figures for softmax %s', (name) => {
    expectGolden<'x'>(engine(), `softmax ${name}`, ({ x }) => softmax(x), tolerances);
  });

  it.each(['width 1', 'width 65', 'offset 10000'])('gives PyTorch’s figures for logSoftmax %s', (name) => {
    expectGolden<'x'>(engine(), `logSoftmax ${name}`, ({ x }) => logSoftmax(x), tolerances);
  });
});
