import { describe, expect, it } from 'vitest';
import { checkProfile } from './profile-flags.ts';

describe('the options of --profile', () => {
  it.each([
    [{ profileStepStart: 2 }, '--profile-step-start has no effect without --profile'],
    [{ profileStepEnd: 2 }, '--profile-step-end has no effect without --profile'],
    [{ profile: 'f', profileStepStart: 4, profileStepEnd: 4 }, 'leaves nothing to profile'],
    [{ profile: 'f', profileStepStart: 10 }, 'is not before the last of 10 iterations'],
  ])('refuse %o', (options, words) => {
    expect(() => checkProfile({ trainIters: 10, ...options })).toThrow(words);
  });

  it.each([
    {},
    { profile: 'f' },
    { profile: 'f', profileStepStart: 0, profileStepEnd: 1 },
    { profile: 'f', profileStepStart: 9 },
  ])('allow %o', (options) => {
    expect(() => checkProfile({ trainIters: 10, ...options })).not.toThrow();
  });
});
