/** Random streams: which key each use of randomness draws from. See design: randomness by global position. */

/** FNV-1a, 32 bits: the stream of a name. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** A seed of its own for each purpose, so that streams of different purposes never meet. Unsigned 32 bits. */
export const streamSeed = (seed: number, purpose: string): number => hashText(`${purpose}:${seed}`);

/** The dropouts of a transformer; each has its own stream in each layer. */
export const dropoutSites = { embedding: 0, attention: 1, attentionOutput: 2, mlpOutput: 3 } as const;
export type DropoutSite = keyof typeof dropoutSites;

/** @param layer global number of the layer, from 0; −1 for what comes before the first. */
export const siteOf = (layer: number, site: DropoutSite): number => (layer + 1) * 8 + dropoutSites[site];
