/** TensorBoard event files, written without TensorFlow: TFRecord framing around `Event` messages. */

import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileError, writeFully } from '../../base/files.ts';
import { maskedCrc32c } from './crc32c.ts';
import type { IterationMetrics } from './metrics-file.ts';
import { doubleField, floatField, integerField, lengthField } from './protobuf.ts';

export interface TensorBoardOptions {
  /** The iteration a resumed run goes on from: TensorBoard then forgets what an earlier run wrote for later ones. */
  readonly resumeIteration?: number;
  /** Seconds since 1970; default the clock. */
  readonly now?: () => number;
}

/**
 * Appends to an event file of its own under `folder`; `using` closes it. Every call is one write of whole records,
 * so that a TensorBoard that watches sees it at once, and a kill costs nothing that was written.
 */
export class TensorBoardWriter implements Disposable {
  readonly path: string;
  readonly #handle: number;
  readonly #now: () => number;
  #open = true;

  /** @throws MegatronError if the folder cannot be written. */
  constructor(folder: string, options: TensorBoardOptions = {}) {
    this.#now = options.now ?? (() => Date.now() / 1000);
    try {
      mkdirSync(folder, { recursive: true });
      [this.path, this.#handle] = openNew(folder, Math.floor(this.#now()));
    } catch (error) {
      throw fileError(`cannot write event files in ${folder}`, error);
    }
    this.#write([lengthField(3, 'brain.Event:2')]);
    const { resumeIteration } = options;
    if (resumeIteration !== undefined && resumeIteration > 0) {
      // SessionLog START: readers drop whatever has this step or a later one.
      this.#write([integerField(2, resumeIteration + 1), lengthField(7, [integerField(1, 1)])]);
    }
  }

  /** Writes figures of one step, 32-bit as TensorBoard keeps them, under their tags. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const summary = Object.entries(values).map(([tag, value]) =>
      lengthField(1, [lengthField(1, tag), floatField(2, value)]),
    );
    this.#write([integerField(2, step), lengthField(5, summary)]);
  }

  /** Writes a text (Markdown), shown in TensorBoard's text tab: the arguments of a run, a sample that the model wrote. */
  text(step: number, tag: string, content: string): void {
    const pluginData = lengthField(1, [lengthField(1, 'text')]);
    const tensorDataClass = integerField(4, 2);
    const oneString = [
      integerField(1, 7),
      lengthField(2, [lengthField(2, [integerField(1, 1)])]),
      lengthField(8, content),
    ];
    const value = [lengthField(1, tag), lengthField(8, oneString), lengthField(9, [pluginData, tensorDataClass])];
    this.#write([integerField(2, step), lengthField(5, [lengthField(1, value)])]);
  }

  /** Forces the file to the disk. */
  flush(): void {
    fsyncSync(this.#handle);
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.#handle);
    this.#open = false;
  }

  #write(event: readonly Uint8Array[]): void {
    try {
      writeFully(this.#handle, frameRecord(Buffer.concat([doubleField(1, this.#now()), ...event])));
    } catch (error) {
      throw fileError(`cannot write ${this.path}`, error);
    }
  }
}

/** A TFRecord: length (8 bytes), its checksum, the content, its checksum; all little-endian. */
function frameRecord(content: Uint8Array): Uint8Array {
  const record = Buffer.alloc(12 + content.byteLength + 4);
  record.writeBigUInt64LE(BigInt(content.byteLength), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(content, 12);
  record.writeUInt32LE(maskedCrc32c(content), 12 + content.byteLength);
  return record;
}

/** Makes `events.out.tfevents.<seconds>.<host>.<pid>.<n>` with the first number that is free. */
function openNew(folder: string, seconds: number): [path: string, handle: number] {
  for (let number = 0; ; number++) {
    const path = join(
      folder,
      `events.out.tfevents.${String(seconds).padStart(10, '0')}.${hostname()}.${process.pid}.${number}`,
    );
    try {
      return [path, openSync(path, 'ax')];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** The figures of a logged iteration under Megatron's own tags. */
export function megatronScalars(metrics: IterationMetrics): Record<string, number> {
  const { validLoss, validPpl } = metrics;
  const figures: Record<string, number> = {
    'lm loss': metrics.lmLoss,
    'learning-rate': metrics.learningRate,
    'grad-norm': metrics.gradNorm,
    'loss-scale': metrics.lossScale,
    'skipped-iterations': metrics.skippedIterations,
    'iteration-time': metrics.elapsedMs / 1000,
    'tokens-per-second': metrics.tokensPerSecond,
    throughput: metrics.modelTflops,
    'memory-bytes': metrics.memoryBytes,
    ...(validLoss === undefined ? {} : { 'lm loss validation': validLoss }),
    ...(validPpl === undefined ? {} : { 'lm loss validation ppl': validPpl }),
  };
  return Object.fromEntries(Object.entries(figures).filter(([, figure]) => Number.isFinite(figure)));
}
