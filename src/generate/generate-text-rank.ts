/** One rank of `megatron generate` as a thread: what `launch` runs. */

import type { RankFunction } from '../comm/rank.ts';
import type { GenerateConfig } from '../config/generate.ts';
import { generateText } from './generate-text.ts';

const rank: RankFunction<GenerateConfig, void> = (world, config) => generateText(config, process, world);

export default rank;
