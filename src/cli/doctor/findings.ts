/** What `megatron doctor` finds out, as plain data: the same for the tables and for `--json`. */

/** An instruction set of the processor, and what it is good for here. */
export interface ProcessorUnit {
  readonly name: string;
  readonly present: boolean;
  readonly use: string;
}

export interface SystemFindings {
  /** "Debian GNU/Linux 12 (bookworm)". */
  readonly system: string;
  readonly kernel: string;
  readonly architecture: string;
  readonly nodeVersion: string;
  readonly processor: string;
  /** Cores that this process may use, hyper-threads included. */
  readonly cores: number;
  /** Cores of the machine without hyper-threads; undefined where the system does not say. */
  readonly physicalCores: number | undefined;
  readonly units: readonly ProcessorUnit[];
  readonly memoryBytes: number;
  readonly availableMemoryBytes: number;
}

/** A program or library that was looked for. */
export interface Component {
  readonly name: string;
  /** Version or path; undefined where it is not there. */
  readonly found: string | undefined;
  readonly use: string;
}

export interface GpuFindings {
  /** One entry for each GPU: name, memory, driver. */
  readonly gpus: readonly string[];
  readonly components: readonly Component[];
}

/** How fast this machine multiplies matrices, measured now. */
export interface MatrixRate {
  /** Engine and library that did it. */
  readonly by: string;
  readonly gigaflopsPerSecond: number;
  /** What was multiplied: "f32, 1024 × 1024 × 1024". */
  readonly problem: string;
}

export interface EngineChoice {
  readonly name: 'cuda' | 'cpu' | 'reference';
  readonly reason: string;
}

export interface Findings {
  readonly version: string;
  readonly system: SystemFindings;
  readonly components: readonly Component[];
  readonly gpu: GpuFindings;
  readonly engine: EngineChoice;
  readonly matrixRate: MatrixRate | undefined;
  /** Why there is no rate, where there is none. */
  readonly matrixRateProblem: string | undefined;
  /** The one command that would make training faster here; undefined where there is nothing to gain. */
  readonly advice: string | undefined;
}
