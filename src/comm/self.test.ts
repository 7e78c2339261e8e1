import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../test/support/engines.ts';
import { checkCommunicator } from './conformance.ts';
import { selfCommunicator } from './self.ts';

describeOnEngines('the communicator of one rank', (engine) => {
  it('conforms', () => {
    using world = selfCommunicator();
    checkCommunicator(world, engine());
  });
});

describe('selfCommunicator', () => {
  it('has a name for messages', () => {
    expect(selfCommunicator().label).toBe('world of one rank');
    expect(selfCommunicator('tensor group').split(3, 1, 'inner')).toMatchObject({ label: 'inner', rank: 0, size: 1 });
  });
});
