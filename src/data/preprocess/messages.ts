/** What the main thread and its encoding workers say to each other. */

import { DataError, EngineError, MegatronError, messageOf, UsageError } from '../../base/errors.ts';
import type { TokenizerSource } from '../tokenizers/tokenizer.ts';
import type { EncodedJob, EncodeJob, EncodeOptions } from './encode.ts';

/** A worker's `workerData`. */
export interface WorkerSetup {
  readonly tokenizer: TokenizerSource;
  readonly options: EncodeOptions;
}

export interface JobMessage {
  readonly id: number;
  readonly job: EncodeJob;
}

export type ReplyMessage =
  | { readonly id: number; readonly encoded: EncodedJob }
  | { readonly id: number; readonly error: PlainError };

/** An error as plain data: threads cannot pass on our classes. */
export interface PlainError {
  readonly kind: string;
  readonly message: string;
  readonly remedy: string | undefined;
}

export function plainError(error: unknown): PlainError {
  const kind = error instanceof MegatronError ? error.name : 'Error';
  return { kind, message: messageOf(error), remedy: error instanceof MegatronError ? error.remedy : undefined };
}

/** The same error, of the same type, on this side. */
export function restoreError(plain: PlainError): Error {
  const types: Record<string, typeof MegatronError> = { DataError, EngineError, UsageError, MegatronError };
  const type = types[plain.kind];
  if (type === undefined) return new Error(plain.message);
  return new type(plain.message, plain.remedy === undefined ? {} : { remedy: plain.remedy });
}
