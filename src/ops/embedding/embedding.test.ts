import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import { integers } from '../../../test/support/numbers.ts';
import {
  evaluate,
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { DataError, ShapeError } from '../../base/errors.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { embedding } from './op.ts';

const embeddingCase = (shape: readonly number[], entries: number, width: number): OperatorCase<'table'> => ({
  inputs: { table: { shape: [entries, width], key: 81 } },
  apply: ({ table }, engine) =>
    embedding(Tensor.from(engine, integers(sizeOf(shape), 82, entries), shape, { dtype: 'i32' }), table),
});

describe('embedding', () => {
  it('has the gradients of finite differences, ids repeated', () =>
    expectFiniteDifferences(embeddingCase([2, 7], 5, 3)));

  it.each([5, -1])('refuses id %i in a table of 5', (id) => {
    using engine = exactEngine();
    using table = Tensor.zeros(engine, [5, 2]);
    using ids = Tensor.from(engine, [0, id], [2], { dtype: 'i32' });
    expect(() => embedding(ids, table)).toThrow(DataError);
    expect(() => embedding(ids, table)).toThrow(String(id));
  });

  it('refuses a table that is no matrix', () => {
    using engine = exactEngine();
    using table = Tensor.zeros(engine, [5]);
    using ids = Tensor.from(engine, [0], [1], { dtype: 'i32' });
    expect(() => embedding(ids, table)).toThrow(ShapeError);
  });
});

// The rows are copies; gradients are sums of a few rows, one rounding (6e-8) each.
const tolerances = { output: 0, gradient: 5e-7 };

describeOnEngines('embedding', (engine) => {
  it.each([
    [[1], 1, 1],
    [[7], 17, 5],
    [[3, 17], 11, 65],
    [[2, 3, 5], 7, 257],
    [[129], 3, 1031],
  ])('agrees with float64 for ids %j in [%i, %i]', (shape, entries, width) => {
    expectAgreesWithExact(engine(), embeddingCase(shape, entries, width), tolerances);
  });

  it('looks up in a table of 16 bits', () =>
    expectHalvesAgree(engine(), embeddingCase([3, 17], 11, 65), { weights: ['table'] }));

  it('adds to gradients that are there', () => expectAccumulates(engine(), embeddingCase([7], 5, 3)));

  it('leaves the gradient of rows that no id names at 0', () => {
    const { gradients } = evaluate(engine(), {
      inputs: { table: { shape: [3, 2], key: 83 } },
      apply: ({ table }, on) => embedding(Tensor.from(on, [2, 0, 2], [3], { dtype: 'i32' }), table as Tensor),
    });
    expect(gradients['table']?.slice(2, 4)).toEqual([0, 0]);
  });

  it('copies NaN and infinity', () => {
    using table = Tensor.from(engine(), [1, Number.NaN, Number.NEGATIVE_INFINITY], [3, 1]);
    using ids = Tensor.from(engine(), [2, 1, 0], [3], { dtype: 'i32' });
    using rows = embedding(ids, table);
    expect(rows.toArray()).toEqual([Number.NEGATIVE_INFINITY, Number.NaN, 1]);
  });

  it('gives PyTorch’s figures', () => {
    expectGolden<'table'>(
      engine(),
      'embedding',
      ({ table }, { attributes: { ids = [], idsShape = [] } }, on) =>
        embedding(Tensor.from(on, ids, idsShape, { dtype: 'i32' }), table),
      tolerances,
    );
  });
});
