/** `megatron train-tokenizer`: a byte-level BPE vocabulary from text files. */

import { statSync } from 'node:fs';
import { formatBytes, formatDuration, formatInteger } from '../../base/format.ts';
import { ProgressLine, progressText } from '../../base/progress.ts';
import type { TrainTokenizerConfig } from '../../config/train-tokenizer.ts';
import { readTexts } from '../../data/text/read.ts';
import { trainByteLevelBpe } from '../../data/tokenizers/train-bpe.ts';
import { writeTokenizerFiles } from '../../data/tokenizers/write-tokenizer-files.ts';
import type { CommandContext } from '../command-module.ts';
import { interruptible } from '../interrupt.ts';
import { invalidNotices } from '../invalid-notices.ts';

export async function run(config: TrainTokenizerConfig, context: CommandContext): Promise<undefined> {
  using interrupt = interruptible('Nothing was written. Run the same command again to start over.');
  using line = new ProgressLine({ stream: context.stderr });
  const notices = invalidNotices(line);
  const start = performance.now();
  const totalBytes = config.input.reduce(
    (sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );

  let bytesRead = 0;
  const read = {
    jsonKeys: config.jsonKeys,
    skipInvalid: config.skipInvalid,
    onInvalid: notices.report,
    onBytes: (bytes: number) => {
      bytesRead += bytes;
    },
  };
  let mergeStart: number | undefined;
  const trained = await trainByteLevelBpe({
    texts: readTexts(config.input, read),
    vocabSize: config.vocabSize,
    minFrequency: config.minFrequency,
    onProgress: ({ stage, done, total }) => {
      interrupt.signal.throwIfAborted();
      if (stage === 'merge') mergeStart ??= performance.now();
      line.update(() =>
        stage === 'read'
          ? progressText({
              label: 'reading',
              done: bytesRead,
              total: totalBytes > 0 ? totalBytes : undefined,
              elapsedMs: performance.now() - start,
              format: (bytes) => formatBytes(bytes),
            })
          : progressText({
              label: 'merging',
              done,
              total,
              elapsedMs: performance.now() - (mergeStart ?? start),
              format: (merges) => `${formatInteger(merges)} merges`,
            }),
      );
    },
  });
  const files = writeTokenizerFiles(trained, config.output);
  line.finish();
  notices.summarize();

  const { stdout, stderr } = context;
  const size = trained.tokens.length;
  stdout.write(
    `${formatInteger(size)} tokens from ${formatBytes(bytesRead)} in ${formatDuration(performance.now() - start)}\n`,
  );
  for (const file of [files.tokenizerModel, files.vocabFile, files.mergeFile]) stdout.write(`  ${file}\n`);
  if (size < config.vocabSize) {
    stderr.write(
      `The text ran out of pairs seen ${config.minFrequency} times: fewer than the ${formatInteger(config.vocabSize)} tokens asked for.\n`,
    );
  }
}
