/** Typed errors: what went wrong, where, and what to do about it. The CLI prints `message` and `remedy`, never a stack. */

/** Base of every error this project throws on purpose. */
export class MegatronError extends Error {
  /** One sentence that tells the reader what to do; printed on a line of its own. */
  readonly remedy: string | undefined;

  constructor(message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.remedy = options.remedy;
  }
}

/** Wrong command line, configuration or argument. The CLI exits with 2. */
export class UsageError extends MegatronError {}

/** Input data (text, tokens, indices) is unreadable, damaged or contradicts itself. */
export class DataError extends MegatronError {}

/** A checkpoint is missing, damaged or of another model. */
export class CheckpointError extends MegatronError {}

/** Shapes or dtypes of tensors do not fit the operator. */
export class ShapeError extends MegatronError {}

/** A compute engine, native library or compiler is missing or failed. */
export class EngineError extends MegatronError {}

/** Words for an unknown thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
