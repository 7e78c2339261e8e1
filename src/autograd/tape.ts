/** The tape: remembers the operators of a forward pass and runs their backward passes in reverse. */

import { EngineError, ShapeError } from '../base/errors.ts';
import { accumulate } from '../tensor/accumulate.ts';
import type { Engine, GradientSink, RecordedOperator, RecordedSegment, Recorder } from '../tensor/engine.ts';
import { formatShape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

type Entry = RecordedOperator | RecordedSegment;

/**
 * Records while it is open (until disposed). Activations that a backward pass needs are retained by the tape and freed the
 * moment that pass has run, so memory falls as backward proceeds.
 *
 * @example
 * using tape = new Tape(engine);
 * const loss = model(batch);
 * tape.backward(loss); // gradients are added to every leaf's `grad`
 */
export class Tape implements Recorder, Disposable {
  readonly #engine: Engine;
  readonly #outer: Recorder | undefined;
  readonly #entries: Entry[] = [];
  /** While a segment is run again: the number of entries from which on outputs are unread. */
  #firstUnread = Number.POSITIVE_INFINITY;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#outer = engine.recorder;
    engine.recorder = this;
  }

  get outputsUnread(): boolean {
    return this.#entries.length >= this.#firstUnread;
  }

  record(entry: Entry): void {
    for (const tensor of entry.saved) tensor.retain();
    this.#entries.push(entry);
  }

  /**
   * Adds d(scale · loss)/d(leaf) to the `grad` of every leaf with `requiresGrad`, and empties the tape.
   *
   * @param loss a scalar that was computed while this tape recorded.
   * @param scale a number, or a tensor of one element of the engine's float type that holds it
   * @param onLeaf called with each leaf as soon as its gradient is complete, so that its reduction over ranks can begin.
   * @throws ShapeError when the loss has more than one element or does not depend on any leaf.
   * @throws EngineError when the loss is not on this tape, or no longer.
   */
  backward(loss: Tensor, scale: number | Tensor = 1, onLeaf?: (leaf: Tensor) => void): void {
    if (loss.size !== 1) throw new ShapeError(`backward needs a scalar loss, got ${formatShape(loss.shape)}`);
    if (!loss.requiresGrad) throw new ShapeError('this loss does not depend on any tensor that requires a gradient');
    if (!this.#entries.some((entry) => entry.output === loss)) {
      throw new EngineError('this loss is not on the tape', {
        remedy: 'Compute it while the tape is open, and run backward once: it empties the tape.',
      });
    }
    const engine = this.#engine;
    engine.recorder = this.#outer;
    const gradients = new Gradients(engine, this.#entries);
    const uses = new Map<Tensor, number>();
    if (onLeaf) countLeafUses(uses, this.#entries);
    try {
      using seed = typeof scale === 'number' ? Tensor.from(engine, [scale], loss.shape) : scale.view(loss.shape);
      gradients.pass(loss, seed);
      for (let entry = this.#entries.pop(); entry; entry = this.#entries.pop()) {
        const next = this.#entries.length;
        if ('again' in entry) this.#runAgain(entry, gradients);
        else this.#runBackward(entry, gradients);
        if (!onLeaf) continue;
        // a leaf of a segment is complete when the last of the segment's operators that reads it is
        countLeafUses(uses, this.#entries.slice(next));
        for (const input of entry.inputs) {
          const left = (uses.get(input) ?? 0) - 1;
          uses.set(input, left);
          if (left === 0) onLeaf(input);
        }
      }
      gradients.deliver();
    } finally {
      gradients[Symbol.dispose]();
      engine.recorder = this;
    }
  }

  #runBackward(entry: RecordedOperator, gradients: Gradients): void {
    const gradient = gradients.take(entry.output);
    try {
      if (gradient) this.#callBackward(entry, gradient, gradients); // otherwise nothing that follows used this output
    } finally {
      gradient?.release();
      for (const tensor of entry.saved) tensor.release();
    }
  }

  #callBackward({ name, backward }: RecordedOperator, gradient: Tensor, gradients: Gradients): void {
    const { observer } = this.#engine;
    if (observer === undefined) backward(gradient, gradients);
    else observer.during({ kind: 'operator', name, direction: 'backward' }, () => backward(gradient, gradients));
  }

  /** Puts the operators of a segment on the tape in its place; their backward passes come next. */
  #runAgain(segment: RecordedSegment, gradients: Gradients): void {
    const gradient = gradients.take(segment.output);
    const first = this.#entries.length;
    try {
      if (!gradient) return;
      this.#firstUnread = first + segment.firstUnread;
      using output = this.#engine.withRecorder(this, segment.again);
      const operators = this.#entries.length - first;
      if (operators !== segment.operators) {
        throw new EngineError(`${segment.name} ran ${segment.operators} operators, and ${operators} the second time`, {
          remedy: 'What is recomputed must do the same both times.',
        });
      }
      gradients.pass(output, gradient);
    } finally {
      this.#firstUnread = Number.POSITIVE_INFINITY;
      gradient?.release();
      for (const tensor of segment.saved) tensor.release();
    }
  }

  /** Stops recording and frees whatever the tape still holds. */
  [Symbol.dispose](): void {
    for (const entry of this.#entries.splice(0)) for (const tensor of entry.saved) tensor.release();
    if (this.#engine.recorder === this) this.#engine.recorder = this.#outer;
  }
}

/** Adds how often the entries read each leaf that has a place for its gradient. */
function countLeafUses(uses: Map<Tensor, number>, entries: readonly Entry[]): void {
  for (const { inputs } of entries) {
    for (const input of inputs) if (input.requiresGrad && input.grad) uses.set(input, (uses.get(input) ?? 0) + 1);
  }
}

/** The gradients that are still on their way, by the tensor they belong to. */
class Gradients implements GradientSink, Disposable {
  readonly #engine: Engine;
  /** What is still on the tape. */
  readonly #entries: readonly Entry[];
  /** Each is retained once by this map. */
  readonly #pending = new Map<Tensor, Tensor>();

  constructor(engine: Engine, entries: readonly Entry[]) {
    this.#engine = engine;
    this.#entries = entries;
  }

  wants(input: Tensor): boolean {
    return input.requiresGrad;
  }

  into(input: Tensor, write: (destination: Tensor, accumulate: boolean) => void): void {
    if (!input.requiresGrad) return;
    const pending = this.#pending.get(input);
    if (input.grad) write(input.grad, true);
    else if (pending) write(this.#owned(input, pending), true);
    else write(this.#fresh(input), false);
  }

  pass(input: Tensor, gradient: Tensor): void {
    if (!input.requiresGrad) return;
    if (input.grad || this.#pending.has(input)) {
      this.into(input, (destination) => accumulate(this.#engine, destination, gradient, destination.size));
      return;
    }
    this.#pending.set(input, gradient.retain());
  }

  mayOverwrite(output: Tensor): boolean {
    let made = false;
    for (const entry of this.#entries) {
      if (entry.saved.some((tensor) => tensor.sharesMemory(output))) return false;
      // a reshaped leaf is an output too, but its memory is the leaf's
      made ||= entry.output.sharesMemory(output) && !entry.inputs.some((input) => input.sharesMemory(output));
    }
    return made;
  }

  /** Removes and returns a tensor's gradient; the caller releases it. */
  take(tensor: Tensor): Tensor | undefined {
    const gradient = this.#pending.get(tensor);
    this.#pending.delete(tensor);
    return gradient;
  }

  /** Gives what is left to its leaves: they had no `grad` yet. It becomes theirs, out of reach of any scope. */
  deliver(): void {
    for (const [leaf, gradient] of this.#pending) {
      if (leaf.holders === 0) continue; // nobody could ever free it
      const owned = this.#owned(leaf, gradient);
      leaf.grad = owned.view(leaf.shape).outliveScope();
    }
  }

  [Symbol.dispose](): void {
    for (const gradient of this.#pending.values()) gradient.release();
    this.#pending.clear();
  }

  #fresh(input: Tensor): Tensor {
    using gradient = Tensor.empty(this.#engine, input.shape, { dtype: input.dtype });
    this.#pending.set(input, gradient.retain());
    return gradient;
  }

  /** The pending gradient, copied first when its memory has another use (a gradient passed to two inputs, say). */
  #owned(input: Tensor, pending: Tensor): Tensor {
    if (pending.isExclusive) return pending;
    const copy = this.#fresh(input);
    copy.copyFrom(pending);
    pending.release();
    return copy;
  }
}
