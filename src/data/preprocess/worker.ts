/** Entry of an encoding worker thread: builds its own tokenizer, then encodes job after job. */

import { parentPort, workerData } from 'node:worker_threads';
import { createTokenizer } from '../tokenizers/create-tokenizer.ts';
import type { Tokenizer } from '../tokenizers/tokenizer.ts';
import { encodeJob } from './encode.ts';
import { type JobMessage, plainError, type ReplyMessage, type WorkerSetup } from './messages.ts';

const setup = workerData as WorkerSetup;
let tokenizer: Tokenizer | undefined;

parentPort?.on('message', ({ id, job }: JobMessage) => {
  let reply: ReplyMessage;
  const buffers: ArrayBuffer[] = [];
  try {
    tokenizer ??= createTokenizer(setup.tokenizer);
    const encoded = encodeJob(tokenizer, setup.options, job);
    for (const { tokens, lengths } of encoded.keys)
      buffers.push(tokens.buffer as ArrayBuffer, lengths.buffer as ArrayBuffer);
    reply = { id, encoded };
  } catch (error) {
    reply = { id, error: plainError(error) };
  }
  parentPort?.postMessage(reply, buffers);
});
