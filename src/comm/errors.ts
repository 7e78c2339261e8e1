/** Errors of ranks that work together, and how they cross threads as plain data. */

import {
  CheckpointError,
  DataError,
  EngineError,
  MegatronError,
  messageOf,
  ShapeError,
  UsageError,
} from '../base/errors.ts';

/** A rank of the run failed: what every other rank's collectives throw, and what the launch rejects with. */
export class RankFailure extends MegatronError {
  /** The rank that failed first. */
  readonly rank: number;

  /** @param cause what the rank threw; its message and remedy become this error's. */
  constructor(rank: number, cause: unknown) {
    const remedy = cause instanceof MegatronError ? cause.remedy : undefined;
    super(`rank ${rank} failed: ${messageOf(cause)}`, remedy === undefined ? { cause } : { cause, remedy });
    this.rank = rank;
  }
}

/** Ranks disagree on what they do together, or wait for each other in vain. */
export class CollectiveError extends MegatronError {}

/** An error as plain data: threads and processes cannot pass on our classes. */
export interface PlainError {
  readonly kind: string;
  readonly message: string;
  readonly remedy: string | undefined;
  readonly stack: string | undefined;
}

export function plainError(error: unknown): PlainError {
  const isError = error instanceof Error;
  return {
    kind: isError ? error.name : 'Error',
    message: messageOf(error),
    remedy: error instanceof MegatronError ? error.remedy : undefined,
    stack: isError ? error.stack : undefined,
  };
}

/** The same error on this side: of the same type where it is one of ours, of the same name where it is not. */
export function restoreError(plain: PlainError): Error {
  const types: Record<string, typeof MegatronError> = {
    ...{ MegatronError, UsageError, DataError, CheckpointError, ShapeError, EngineError, CollectiveError },
  };
  const options = plain.remedy === undefined ? {} : { remedy: plain.remedy };
  const type = types[plain.kind];
  const error = type
    ? new type(plain.message, options)
    : plain.remedy === undefined
      ? new Error(plain.message)
      : new MegatronError(plain.message, options);
  error.name = plain.kind;
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
