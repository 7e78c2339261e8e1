/** Ctrl-C and `kill` for commands that can stop cleanly between two steps. */

import { MegatronError } from '../base/errors.ts';

/** Thrown (as an abort's reason) when the user asked to stop. The exit code is the shell's own for the signal. */
export class InterruptedError extends MegatronError {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM', remedy: string) {
    super(`stopped by ${signal}`, { remedy });
    this.exitCode = signal === 'SIGINT' ? 130 : 143;
  }
}

/**
 * One request to stop can arrive several times: the terminal sends it to every process of the command, and npm and our launcher
 * send theirs on. Within this time all of them are one.
 */
const oneRequestMilliseconds = 1000;

/**
 * An abort signal that the first SIGINT or SIGTERM raises, with an `InterruptedError` as its reason; a later one ends the process at once.
 *
 * @param remedy what the user is told: what was kept, and how to go on
 */
export function interruptible(remedy: string): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  let patience: NodeJS.Timeout | undefined;
  const listeners = (['SIGINT', 'SIGTERM'] as const).map((name) => {
    const listener = () => {
      if (controller.signal.aborted) return;
      patience = setTimeout(stopListening, oneRequestMilliseconds).unref();
      controller.abort(new InterruptedError(name, remedy));
    };
    process.on(name, listener);
    return [name, listener] as const;
  });
  function stopListening(): void {
    clearTimeout(patience);
    for (const [name, listener] of listeners) process.off(name, listener);
  }
  return { signal: controller.signal, [Symbol.dispose]: stopListening };
}
