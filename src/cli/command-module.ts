/** What the file of a command exports, and what it is given. */

/** Where a command writes; `process.stdout` and `process.stderr` are such. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface CommandContext {
  /** Results, for pipes and files. */
  readonly stdout: TextStream;
  /** Progress, notices and errors. */
  readonly stderr: TextStream;
  /** Options that were given, by key; all others are at their defaults. */
  readonly given: ReadonlySet<string>;
}

/** A file in `commands/`. */
export interface CommandModule<Config> {
  /** Does the work. @returns the exit code where it is not 0; failures are thrown. */
  run(config: Config, context: CommandContext): Promise<number | undefined>;
}
