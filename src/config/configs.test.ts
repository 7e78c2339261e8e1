import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { paddedVocabSize } from '../model/config.ts';
import { parseCommandLine } from './command.ts';
import { pretrainGptCommand } from './pretrain-gpt.ts';

const folder = fileURLToPath(new URL('../../configs/', import.meta.url));

/** Layers, hidden size, heads, exact parameters: paper Table 1 and 2, with 51,200 rows and 1,024 positions. */
const models: Readonly<Record<string, readonly [number, number, number, number]>> = {
  'gpt2-124m.yaml': [12, 768, 12, 125_164_032],
  'gpt2-355m.yaml': [24, 1024, 16, 355_788_800],
  'gpt2-2.5b.yaml': [54, 1920, 20, 2_490_408_960],
  'gpt2-8.3b.yaml': [72, 3072, 24, 8_317_040_640],
  'scaling-1.2b.yaml': [40, 1536, 16, 1_213_479_936],
  'scaling-2.5b.yaml': [54, 1920, 20, 2_490_408_960],
  'scaling-4.2b.yaml': [64, 2304, 24, 4_199_109_120],
  'scaling-8.3b.yaml': [72, 3072, 32, 8_317_040_640],
};

describe('the ready configurations', () => {
  it('are those of the paper, and no other', () => {
    expect(readdirSync(folder).sort()).toEqual(Object.keys(models).sort());
  });

  it.each(Object.entries(models))(
    '%s has the size and schedule of the paper',
    (name, [layers, hidden, heads, parameters]) => {
      const line = parseCommandLine(pretrainGptCommand, ['--config', `${folder}${name}`, '--mock-data']);
      if (line.help) throw new Error('help was not asked for');
      const { config } = line;
      expect([config.numLayers, config.hiddenSize, config.numAttentionHeads]).toEqual([layers, hidden, heads]);
      const rows = paddedVocabSize({ ...config, vocabSize: 50_257 });
      expect(rows).toBe(51_200);
      const { numLayers, hiddenSize: h, maxPositionEmbeddings } = config;
      // v·h + positions·h + L·(12·h² + 13·h) + 2·h; the paper's sizes count the padded vocabulary
      expect((rows + maxPositionEmbeddings) * h + numLayers * (12 * h * h + 13 * h) + 2 * h).toBe(parameters);
      expect(config).toMatchObject({
        seqLength: 1024,
        globalBatchSize: 512,
        trainIters: 300_000,
        lr: 1.5e-4,
        minLr: 1e-5,
        lrDecayStyle: 'cosine',
        lrDecayIters: 300_000,
        lrWarmupIters: 3000,
        weightDecay: 0.01,
        clipGrad: 1,
        attentionDropout: 0.1,
        hiddenDropout: 0.1,
      });
    },
  );
});
