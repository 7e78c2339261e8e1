/** `--profile`: watches some steps of a run, writes their trace, and tells in a short table where their time went. */

import { hostname } from 'node:os';
import { writeFileAtomically } from '../../base/files.ts';
import type { Communicator } from '../../comm/communicator.ts';
import { observedCommunicator } from '../../comm/observed.ts';
import { defaultProfiledSteps, defaultWarmupSteps } from '../../config/profile-flags.ts';
import type { RankGrid } from '../../parallel/grid.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import type { StepProfiler } from '../loop.ts';
import { gatherTexts } from './gather.ts';
import { type Limits, measureBandwidth, measureMatrixRate } from './limits.ts';
import { type RankSpans, SpanRecorder } from './spans.ts';
import { type Summary, summarize } from './summary.ts';
import { profileTable } from './table.ts';
import { traceOf } from './trace.ts';
import { onOneClock, waitingTimes } from './waiting.ts';

export interface ProfilerOptions {
  /** Where rank 0 writes the trace; none is written where not given. */
  readonly file?: string | undefined;
  /** Iterations that go before the first profiled one; `defaultWarmupSteps` of this run where not given. */
  readonly stepStart?: number | undefined;
  /** The last profiled iteration; `defaultProfiledSteps` of them where not given. */
  readonly stepEnd?: number | undefined;
  /** Iterations of the run. */
  readonly trainIters: number;
  /** Lines for people, on rank 0. */
  readonly note: (line: string) => void;
}

export interface Profile {
  readonly summary: Summary;
  readonly limits: Limits;
}

/** All ranks make one, and call it alike: its beginning and its end are collective. */
export class Profiler implements StepProfiler {
  readonly #options: ProfilerOptions;
  readonly #recorder = new SpanRecorder();
  #engine: Engine | undefined;
  #grid: RankGrid | undefined;
  #limits: Limits | undefined;
  #window: { readonly first: number; readonly last: number } | undefined;
  #endStep: (() => void) | undefined;
  /** When recording began; undefined while nothing is recorded. */
  #begun: number | undefined;
  /** Of rank 0's steps, once they have been recorded. */
  profile: Profile | undefined;

  constructor(options: ProfilerOptions) {
    this.#options = options;
  }

  /** The same ranks, with their collectives watched. */
  watch(world: Communicator): Communicator {
    return observedCommunicator(world, this.#recorder);
  }

  /**
   * Takes an engine that holds nothing yet: the limits are measured, and the memory's peaks begin anew.
   *
   * @param computeType element type that the run multiplies in
   */
  attach(engine: Engine, grid: RankGrid, computeType: DType = engine.floatType): void {
    this.#engine = engine;
    this.#grid = grid;
    // ranks share the memory's speed in their steps, so they measure it at once
    grid.world.barrier();
    const bandwidth = measureBandwidth(engine);
    this.#limits = { bandwidth, matrix: { [computeType]: measureMatrixRate(engine, computeType) } };
    engine.memory.trim();
    engine.memory.resetPeak();
  }

  stepping(iteration: number): void {
    const { stepStart, stepEnd, trainIters } = this.#options;
    if (!this.#window) {
      const warmup = Math.min(defaultWarmupSteps, trainIters - iteration);
      const first = Math.max(iteration, (stepStart ?? iteration - 1 + warmup) + 1);
      this.#window = { first, last: Math.min(trainIters, stepEnd ?? first - 1 + defaultProfiledSteps) };
    }
    const { first, last } = this.#window;
    if (iteration < first || iteration > last || !this.#engine) return;
    if (this.#begun === undefined) {
      this.#grid?.world.barrier();
      this.#begun = this.#recorder.begin(this.#engine);
    }
    this.#endStep = this.#recorder.start({ kind: 'step', name: `step ${iteration}` });
  }

  stepped(iteration: number): void {
    this.#endStep?.();
    this.#endStep = undefined;
    if (iteration === this.#window?.last) this.finish();
  }

  /** Writes what was recorded; called at the end of a run as well, since it may end before its last profiled step. */
  finish(): void {
    const { file, note } = this.#options;
    if (this.profile) return;
    if (this.#begun === undefined || !this.#engine || !this.#grid || !this.#limits) {
      if (this.#grid?.world.rank === 0) note('profile: the run ended before the first step that was to be profiled');
      return;
    }
    const begun = this.#begun;
    this.#begun = undefined;
    const engine = this.#engine;
    const limits = this.#limits;
    const { world, tensor, data } = this.#grid;
    const spans = this.#recorder.take();
    const place = world.size > 1 ? ` (tensor ${tensor.rank}, data ${data.rank})` : '';
    const own: RankSpans = {
      ...{ rank: world.rank, label: `rank ${world.rank}${place}`, host: hostname(), begun, spans },
    };
    const texts = gatherTexts(world, engine, JSON.stringify(own));
    const ranks = onOneClock(texts?.map((text) => JSON.parse(text) as RankSpans) ?? [own]);
    const waitingOf = waitingTimes(ranks.map((rank) => rank.spans));
    this.profile = { summary: summarize(spans, limits, waitingOf), limits };
    if (world.rank > 0) return;
    for (const line of profileTable(this.profile.summary, limits)) note(line);
    if (file === undefined) return;
    writeFileAtomically(file, traceOf(ranks, waitingOf, { engine: engine.backend.description, limits }));
    note(`profile: wrote ${file}; open it in https://ui.perfetto.dev or chrome://tracing`);
  }
}
