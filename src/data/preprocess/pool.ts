/** Threads that encode blocks of text. */

import { Worker } from 'node:worker_threads';
import { MegatronError, messageOf } from '../../base/errors.ts';
import type { Tokenizer, TokenizerSource } from '../tokenizers/tokenizer.ts';
import { type EncodedJob, type EncodeJob, type EncodeOptions, encodeJob } from './encode.ts';
import { type JobMessage, type ReplyMessage, restoreError, type WorkerSetup } from './messages.ts';

/** Encodes jobs somewhere; dispose to end its threads. */
export interface Encoder extends AsyncDisposable {
  /** Rejects with the error the job would throw on this thread. */
  encode(job: EncodeJob): Promise<EncodedJob>;
}

/** Encodes on the calling thread. */
export function createLocalEncoder(tokenizer: Tokenizer, options: EncodeOptions): Encoder {
  return {
    encode: async (job) => encodeJob(tokenizer, options, job),
    async [Symbol.asyncDispose]() {},
  };
}

interface Waiting {
  resolve(encoded: EncodedJob): void;
  reject(error: Error): void;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** Encodes on `count` worker threads; each job goes to the thread with the fewest. */
export function createEncoderPool(count: number, tokenizer: TokenizerSource, options: EncodeOptions): Encoder {
  // The sources run as .ts and the package as .js; a worker's file is of the same kind as this one.
  const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
  const workerData: WorkerSetup = { tokenizer, options };
  // Threads inherit Node's own options; this one is refused there, and library users may run from `--eval`.
  const execArgv = process.execArgv.filter((option) => !option.startsWith('--input-type'));
  let failure: Error | undefined;
  let nextId = 0;

  const threads = Array.from({ length: count }, (): Thread => {
    const worker = new Worker(entry, { workerData, execArgv });
    const waiting = new Map<number, Waiting>();
    const fail = (why: string, cause?: unknown) => {
      failure ??= new MegatronError(`an encoding thread ended: ${why}`, {
        cause,
        remedy: 'If memory ran out, use fewer --workers.',
      });
      for (const { reject } of waiting.values()) reject(failure);
      waiting.clear();
    };
    worker.on('message', (reply: ReplyMessage) => {
      const job = waiting.get(reply.id);
      waiting.delete(reply.id);
      if ('error' in reply) job?.reject(restoreError(reply.error));
      else job?.resolve(reply.encoded);
    });
    worker.on('error', (error) => fail(messageOf(error), error));
    worker.on('exit', (code) => fail(`exit code ${code}`));
    return { worker, waiting };
  });

  return {
    encode(job) {
      if (failure !== undefined) return Promise.reject(failure);
      const thread = threads.reduce((least, other) => (other.waiting.size < least.waiting.size ? other : least));
      const message: JobMessage = { id: nextId++, job };
      return new Promise((resolve, reject) => {
        thread.waiting.set(message.id, { resolve, reject });
        thread.worker.postMessage(
          message,
          job.blocks.map((block) => block.bytes.buffer),
        );
      });
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(threads.map(({ worker }) => worker.terminate()));
    },
  };
}
