/** Words on the input that `--skip-invalid` passed over: the first few in full, then a count. */

import { formatInteger } from '../base/format.ts';
import type { ProgressLine } from '../base/progress.ts';
import type { InvalidDocument } from '../data/text/documents.ts';

const printedInFull = 5;

export interface InvalidNotices {
  readonly report: (invalid: InvalidDocument) => void;
  /** The count, at the end; silent where there was none. */
  summarize(): void;
}

export function invalidNotices(line: Pick<ProgressLine, 'log'>): InvalidNotices {
  let count = 0;
  return {
    report(invalid) {
      count++;
      if (count <= printedInFull) line.log(`skipped ${invalid.path}:${invalid.lineNumber}: ${invalid.reason}`);
      if (count === printedInFull + 1) line.log('skipped more; they are counted at the end');
    },
    summarize() {
      if (count > 0) line.log(`skipped ${formatInteger(count)} in all`);
    },
  };
}
