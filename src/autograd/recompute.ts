/**
 * Recomputation (also "activation checkpointing"): a part of the forward pass keeps only what it starts from, and runs a second
 * time when the backward pass reaches it (Chen et al. 2016; for transformers Korthikanti et al. 2022).
 */

import { EngineError } from '../base/errors.ts';
import type { RecordedOperator, RecordedSegment, Recorder } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';

type Entry = RecordedOperator | RecordedSegment;

/** Notes what runs and retains nothing, so that all activations are freed on the way. */
class Probe implements Recorder {
  readonly entries: Entry[] = [];
  readonly outputsUnread: boolean;

  constructor(outer: Recorder) {
    this.outputsUnread = outer.outputsUnread;
  }

  record(entry: Entry): void {
    this.entries.push(entry);
  }
}

/**
 * Runs `body`; while a tape records, its activations are not kept but computed again in the backward pass. Losses and
 * gradients are the same bits with and without: the second run puts the same operators on the tape, and gradients are
 * added in the same order. Whatever ends the body and is read by no backward pass (a last product, its all-reduce, a residual
 * addition) is not computed a second time, so a body should end as late as it can.
 *
 * Segments may lie in each other, and on ranks that share the body's collectives all ranks must recompute alike.
 *
 * @param name for error messages
 * @param kept tensors from outside that the body reads, other than parameters; at least one
 * @param body does the same each time it is called; it may read random numbers only by counter
 * @throws EngineError in the backward pass when the second run is another than the first.
 */
export function recompute(name: string, kept: readonly (Tensor | undefined)[], body: () => Tensor): Tensor {
  const given = kept.filter((tensor) => tensor !== undefined);
  const [first] = given;
  if (!first) throw new EngineError(`${name} keeps no tensor to run again from`);
  const { engine } = first;
  const { recorder } = engine;
  if (!recorder) return body();
  const again = (): Tensor => engine.scope(body);
  const probe = new Probe(recorder);
  const output = engine.withRecorder(probe, again);
  const { entries } = probe;
  const made = new Set(entries.map((entry) => entry.output));
  if (!made.has(output)) return output; // nothing to differentiate
  const inputs = new Set(entries.flatMap((entry) => entry.inputs).filter((input) => isOutside(input, made)));
  recorder.record({
    name,
    inputs: [...inputs],
    output,
    saved: [...new Set([...given, ...inputs])],
    again,
    operators: entries.length,
    firstUnread: firstUnread(entries, given),
  });
  return output;
}

/** Whether a tensor that asks for a gradient came from outside: an activation that the segment starts from, or a parameter. */
const isOutside = (input: Tensor, made: ReadonlySet<Tensor>): boolean =>
  input.requiresGrad && !made.has(input) && input.holders > 0;

/**
 * The first operator from which on no output is saved for a backward pass, and nothing that the operators made for themselves.
 *
 * @param given what the segment keeps anyway
 */
function firstUnread(entries: readonly Entry[], given: readonly Tensor[]): number {
  const isUnread = ({ inputs, output, saved }: Entry): boolean =>
    saved.every((tensor) => [...inputs, ...given].some((kept) => kept.sharesMemory(tensor))) &&
    !entries.some((entry) => entry.saved.some((tensor) => tensor.sharesMemory(output)));
  return entries.findLastIndex((entry) => !isUnread(entry)) + 1;
}
