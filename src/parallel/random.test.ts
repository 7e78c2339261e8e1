import { expect, it } from 'vitest';
import { type DropoutSite, dropoutSites, hashText, siteOf, streamSeed } from './random.ts';

it('hashText is FNV-1a', () => {
  // test vectors of the algorithm's authors
  expect(hashText('')).toBe(0x811c9dc5);
  expect(hashText('a')).toBe(0xe40c292c);
  expect(hashText('foobar')).toBe(0xbf9cf968);
});

it('every purpose and seed has a stream of its own', () => {
  const seeds = ['dropout', 'initial values', 'generation'].flatMap((purpose) =>
    [0, 1, 2, 1234, 2 ** 32 - 1].map((seed) => streamSeed(seed, purpose)),
  );
  expect(new Set(seeds).size).toBe(15);
  for (const seed of seeds) expect(seed).toBe(seed >>> 0);
});

it('every dropout of every layer has a site of its own', () => {
  const names = Object.keys(dropoutSites) as DropoutSite[];
  const layers = Array.from({ length: 100 }, (_, i) => i - 1);
  const sites = layers.flatMap((layer) => names.map((name) => siteOf(layer, name)));
  expect(new Set(sites).size).toBe(400);
  for (const site of sites) expect(site).toBe(site >>> 0);
});
