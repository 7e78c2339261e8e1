/** `megatron preprocess`: text files to the token files that training reads. */

import { formatBytes, formatDuration, formatInteger } from '../../base/format.ts';
import { ProgressLine, progressText } from '../../base/progress.ts';
import type { PreprocessConfig } from '../../config/preprocess.ts';
import { tokenizerSource } from '../../config/shared-flags.ts';
import { type PreprocessProgress, preprocess } from '../../data/preprocess/preprocess.ts';
import type { CommandContext } from '../command-module.ts';
import { interruptible } from '../interrupt.ts';
import { invalidNotices } from '../invalid-notices.ts';

export async function run(config: PreprocessConfig, context: CommandContext): Promise<undefined> {
  using interrupt = interruptible('Nothing was written. Run the same command again to start over.');
  using line = new ProgressLine({ stream: context.stderr });
  const notices = invalidNotices(line);
  const summaries = await preprocess({
    inputs: config.input,
    jsonKeys: config.jsonKeys,
    tokenizer: tokenizerSource(config),
    appendEod: config.appendEod,
    outputPrefix: config.outputPrefix,
    workers: config.workers,
    skipInvalid: config.skipInvalid,
    signal: interrupt.signal,
    onInvalid: notices.report,
    onProgress: (progress) => line.update(() => progressLine(progress)),
  });
  line.finish();
  notices.summarize();
  for (const { prefix, documents, tokens, bytes, seconds } of summaries) {
    const size = `${formatInteger(documents)} documents, ${formatInteger(tokens)} tokens, ${formatBytes(bytes)}`;
    context.stdout.write(`${prefix}.bin/.idx: ${size}, in ${formatDuration(seconds * 1000)}\n`);
  }
}

function progressLine(progress: PreprocessProgress): string {
  const { bytesRead, totalBytes, seconds, documents, tokens } = progress;
  return progressText({
    label: 'preprocess',
    done: bytesRead,
    total: totalBytes > 0 ? totalBytes : undefined,
    elapsedMs: seconds * 1000,
    format: (bytes) => formatBytes(bytes),
    details: [`${formatInteger(documents)} documents`, `${formatInteger(tokens)} tokens`],
  });
}
