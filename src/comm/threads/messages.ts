/** Messages from one rank to another: the sender waits in its mailbox until the receiver has taken the numbers. */

import { byteLengthOf } from '../../tensor/cost.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { describeCall, kindOf } from './calls.ts';
import type { Group } from './group.ts';
import type { PublishedCall } from './group-memory.ts';
import { copyNative, sharesMemory } from './native.ts';
import { forPieces, pieceLength } from './staged.ts';
import { advance, type Described } from './waiting.ts';

const describeMessage = ({ kind, count }: PublishedCall): string => describeCall(kind, count, 0);

/** One direction between two ranks of a group; a rank holds it at one of its ends. */
export class Mailbox {
  readonly #group: Group;
  readonly #from: number;
  readonly #to: number;
  /** Posts so far: one for a message by address, one for each piece of a staged one. */
  #posts = 0;

  constructor(group: Group, from: number, to: number) {
    this.#group = group;
    this.#from = from;
    this.#to = to;
  }

  send(tensor: Tensor): void {
    const message = this.#describe(tensor);
    const action = this.#action('send', tensor, this.#to);
    // on a failure the tensor stays retained: the receiver may still be reading
    tensor.retain();
    const post = (): void => {
      this.#posts = (this.#posts + 1) | 0;
      this.#group.memory.post(this.#from, this.#to, message);
      this.#advance('sent');
      this.#waitFor('received', this.#to, action);
    };
    if (message.address !== 0n) post();
    else {
      const { dtype, data } = tensor;
      forPieces(Math.max(1, tensor.size), pieceLength(dtype), (begin, length) => {
        const piece = this.#group.stagingView(this.#from, dtype, length);
        piece.set(data.subarray(begin, begin + length));
        post();
      });
    }
    tensor.release();
  }

  receive(tensor: Tensor): void {
    const expected = this.#describe(tensor);
    const action = this.#action('receive', tensor, this.#from);
    const take = (): PublishedCall => {
      this.#posts = (this.#posts + 1) | 0;
      this.#waitFor('sent', this.#from, action);
      const posted = this.#group.memory.posted(this.#from, this.#to);
      if (posted.kind !== expected.kind || posted.count !== expected.count) {
        const { members, label } = this.#group;
        this.#group.disagree(
          `in the ${label} rank ${members[this.#from]} sends a ${describeMessage(posted)}, ` +
            `and rank ${members[this.#to]} expects a ${describeMessage(expected)}`,
        );
      }
      return posted;
    };
    if (expected.address !== 0n) {
      copyNative(tensor.engine, [{ from: take().address, to: tensor.address }], byteLengthOf(tensor));
      this.#advance('received');
      return;
    }
    const { dtype, data } = tensor;
    forPieces(Math.max(1, tensor.size), pieceLength(dtype), (begin, length) => {
      take();
      const rest = Math.min(length, tensor.size - begin);
      data.set(this.#group.stagingView(this.#from, dtype, rest), begin);
      this.#advance('received');
    });
  }

  #describe(tensor: Tensor): PublishedCall {
    const native = sharesMemory(tensor.engine);
    const kind = kindOf('message', tensor.dtype, undefined, native ? 'native' : 'staged');
    return { kind, root: 0, count: tensor.size, address: native ? tensor.address : 0n };
  }

  #action(verb: string, tensor: Tensor, peer: number): Described {
    const { label } = this.#group;
    const direction = verb === 'send' ? 'to' : 'from';
    return { describe: () => `${verb} ${tensor.dtype} [${tensor.size}] ${direction} rank ${peer} of the ${label}` };
  }

  #advance(name: 'sent' | 'received'): void {
    const { memory, run } = this.#group;
    const sleepers = memory.mail(this.#from, this.#to, 'sleepers');
    advance(run.words, memory.mail(this.#from, this.#to, name), sleepers, this.#posts);
  }

  #waitFor(name: 'sent' | 'received', peer: number, action: Described): void {
    const { memory } = this.#group;
    const sleepers = memory.mail(this.#from, this.#to, 'sleepers');
    this.#group.waitForMail(memory.mail(this.#from, this.#to, name), sleepers, this.#posts, peer, action);
  }
}
