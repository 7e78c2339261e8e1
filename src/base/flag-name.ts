/** How an option's key is spelled on the command line. */

/** `adamBeta1` → `adam-beta1`, Megatron's spelling. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
