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
 * An abort signal that the first SIGINT or SIGTERM raises, with an `InterruptedError` as its reason; a second one ends the process at once.
 *
 * @param remedy what the user is told: what was kept, and how to go on
 */
export function interruptible(remedy: string): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const listeners = (['SIGINT', 'SIGTERM'] as const).map((name) => {
    const listener = () => {
      stopListening();
      controller.abort(new InterruptedError(name, remedy));
    };
    process.on(name, listener);
    return [name, listener] as const;
  });
  function stopListening(): void {
    for (const [name, listener] of listeners) process.off(name, listener);
  }
  return { signal: controller.signal, [Symbol.dispose]: stopListening };
}
