/** cuBLASLt: matrix products on the GPU, each problem described once and its algorithm kept. */

import { openLibrary } from '../native.ts';
import { bindChecked, type CheckedFunctions, cudaError, Out, type StatusWords } from './status.ts';

const signatures = {
  cublasLtCreate: ['pointer'],
  cublasLtDestroy: ['pointer'],
  cublasLtMatmulDescCreate: ['pointer', 'int32', 'int32'],
  cublasLtMatmulDescDestroy: ['pointer'],
  cublasLtMatmulDescSetAttribute: ['pointer', 'int32', 'pointer', 'int64'],
  cublasLtMatrixLayoutCreate: ['pointer', 'int32', 'int64', 'int64', 'int64'],
  cublasLtMatrixLayoutDestroy: ['pointer'],
  cublasLtMatmulPreferenceCreate: ['pointer'],
  cublasLtMatmulPreferenceDestroy: ['pointer'],
  cublasLtMatmulPreferenceSetAttribute: ['pointer', 'int32', 'pointer', 'int64'],
  cublasLtMatmulAlgoGetHeuristic: [
    ...(['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'] as const), // handle, problem, a, b, c, d
    ...(['pointer', 'int32', 'pointer', 'pointer'] as const), // preference, asked, results, found
  ],
  cublasLtMatmul: [
    ...(['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'] as const), // …, alpha, a, b
    ...(['pointer', 'pointer', 'pointer', 'pointer', 'pointer'] as const), // beta, c, d
    ...(['pointer', 'pointer', 'int64', 'pointer'] as const), // algorithm, workspace, its bytes, stream
  ],
} as const;

/** cudaDataType_t. */
export const cudaDataTypes = { f32: 0, f16: 2, bf16: 14 } as const;
export type CudaDataType = keyof typeof cudaDataTypes;

/** cublasComputeType_t: CUBLAS_COMPUTE_32F, which keeps all of float32 where the operands have it. */
const computeFloat32 = 68;
/** cublasLtMatmulDescAttributes_t. */
const attributes = { transposeA: 3, transposeB: 4, epilogue: 7, biasPointer: 8, auxPointer: 11, auxLd: 12 } as const;
/**
 * cublasLtEpilogue_t: BIAS, GELU_AUX_BIAS, DGELU, BGRADB. Biases and GELU's inputs are of the result's type, which is the default
 * of their attributes; GELU is the tanh form, and takes what is not rounded yet.
 */
const epilogues = { bias: 4, gelu: 164, geluSlope: 192, sumsOfB: 512 } as const;
export type EpilogueKind = keyof typeof epilogues;
/** cublasLtMatmulPreferenceAttributes_t; alignments of a, b, c and d in bytes. */
const preferences = {
  ...{ maxWorkspaceBytes: 1, reductionSchemes: 3 },
  ...{ alignmentA: 5, alignmentB: 6, alignmentC: 7, alignmentD: 8 },
} as const;
/**
 * CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: where a sum is cut into parts, they lie in the workspace in float32 and are added in one
 * order. By default the library may also round the parts to the result's type before it adds them, or add them in the result.
 */
const partsInFloat32 = 2;
/** cublasLtMatmulHeuristicResult_t: 64 bytes of algorithm, workspace bytes, status, waves, reserved. */
const heuristicBytes = 96;
const statusAt = 72;
/** CUBLAS_STATUS_NOT_SUPPORTED. */
const notSupported = 15;
/** And CUBLAS_STATUS_INVALID_VALUE and CUBLAS_STATUS_ARCH_MISMATCH: the answers where an algorithm does not fit. */
const refusals = [notSupported, 7, 8];

/** Whether a status says that there is no algorithm for a problem, rather than that something broke. */
export const meansUnsupported = (status: number): boolean => refusals.includes(status);

/** One column-major matrix: rows, columns and the distance between columns, in elements. */
export interface MatrixLayout {
  readonly type: CudaDataType;
  readonly rows: number;
  readonly columns: number;
}

/**
 * Where an epilogue reads its bias, one number for each row of d, or writes the sums of op(b), one for each column; and where it
 * reads or writes GELU's input, laid out like d.
 */
export interface EpilogueAddresses {
  readonly bias?: bigint | undefined;
  readonly geluInput?: bigint | undefined;
}

/** d = op(a)·op(b) + beta·d, column-major, sums in float32. */
export interface ProductProblem {
  readonly a: MatrixLayout;
  readonly b: MatrixLayout;
  readonly d: MatrixLayout;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Powers of two that divide the addresses, in bytes. */
  readonly alignments: { readonly a: number; readonly b: number; readonly d: number };
  /** With addresses like those of the runs to come: algorithms depend on their alignment, and are refused without any. */
  readonly epilogue?: (EpilogueAddresses & { readonly kind: EpilogueKind }) | undefined;
}

export interface ProductAddresses extends EpilogueAddresses {
  readonly a: bigint;
  readonly b: bigint;
  readonly d: bigint;
}

/** A problem with its algorithms, the library's first choice before the others. */
export interface PlannedProduct extends Disposable {
  readonly algorithms: number;
  /** Takes another algorithm for the runs that follow. */
  choose(index: number): void;
  /** @param workspace as many bytes as the plan was allowed */
  run(addresses: ProductAddresses, accumulate: boolean, workspace: bigint, stream: bigint): void;
}

export interface CublasLt extends Disposable {
  /** "13.0.1". */
  readonly version: string;
  /**
   * @param most algorithms asked for
   * @throws CudaError where the library has none for the problem.
   */
  plan(problem: ProductProblem, workspaceLimit: number, most: number): PlannedProduct;
}

type Functions = CheckedFunctions<typeof signatures>;

/** @throws EngineError where the library does not load. */
export function openCublasLt(path: string): CublasLt {
  const library = openLibrary(path, { permanent: true });
  const statusName = library.bind('cublasLtGetStatusName', 'string', ['int32']);
  const words: StatusWords = (status) => ({ name: String(statusName(status)), words: '' });
  const functions = bindChecked(library, signatures, words);
  const version = Number(library.bind('cublasLtGetVersion', 'int64', [])());
  const out = new Out();
  functions.cublasLtCreate(out.place);
  const handle = out.pointer;
  return {
    version: versionText(version),
    plan: (problem, limit, most) => planProduct(functions, words, handle, problem, limit, most),
    [Symbol.dispose]: () => functions.cublasLtDestroy(handle),
  };
}

/** 120804 → "12.8.4". */
export const versionText = (version: number): string =>
  [Math.floor(version / 10000), Math.floor((version % 10000) / 100), version % 100].join('.');

/** A 4- or 8-byte attribute as the library reads it. */
function attributeBytes(value: number | bigint): DataView {
  const view = new DataView(new ArrayBuffer(typeof value === 'bigint' ? 8 : 4));
  if (typeof value === 'bigint') view.setBigUint64(0, value, true);
  else view.setInt32(0, value, true);
  return view;
}

function planProduct(
  functions: Functions,
  words: StatusWords,
  handle: bigint,
  problem: ProductProblem,
  workspaceLimit: number,
  most: number,
): PlannedProduct {
  const out = new Out();
  functions.cublasLtMatmulDescCreate(out.place, computeFloat32, cudaDataTypes.f32);
  const description = out.pointer;
  const set = (attribute: number, value: number | bigint): void => {
    const bytes = attributeBytes(value);
    functions.cublasLtMatmulDescSetAttribute(description, attribute, bytes, bytes.byteLength);
  };
  set(attributes.transposeA, problem.transposeA ? 1 : 0);
  set(attributes.transposeB, problem.transposeB ? 1 : 0);
  const { epilogue } = problem;
  const point = pointerSetter(set);
  if (epilogue) {
    set(attributes.epilogue, epilogues[epilogue.kind]);
    if (epilogue.geluInput !== undefined) set(attributes.auxLd, BigInt(problem.d.rows));
    point(epilogue);
  }
  const layoutOf = ({ type, rows, columns }: MatrixLayout): bigint => {
    functions.cublasLtMatrixLayoutCreate(out.place, cudaDataTypes[type], rows, columns, rows);
    return out.pointer;
  };
  const [a, b, d] = [layoutOf(problem.a), layoutOf(problem.b), layoutOf(problem.d)];
  const free = (): void => {
    functions.cublasLtMatmulDescDestroy(description);
    for (const layout of [a, b, d]) functions.cublasLtMatrixLayoutDestroy(layout);
  };

  functions.cublasLtMatmulPreferenceCreate(out.place);
  const preference = out.pointer;
  const prefer = (attribute: number, value: number | bigint): void => {
    const bytes = attributeBytes(value);
    functions.cublasLtMatmulPreferenceSetAttribute(preference, attribute, bytes, bytes.byteLength);
  };
  const { alignments } = problem;
  prefer(preferences.maxWorkspaceBytes, BigInt(workspaceLimit));
  prefer(preferences.reductionSchemes, partsInFloat32);
  prefer(preferences.alignmentA, alignments.a);
  prefer(preferences.alignmentB, alignments.b);
  prefer(preferences.alignmentC, alignments.d);
  prefer(preferences.alignmentD, alignments.d);
  const results = new DataView(new ArrayBuffer(heuristicBytes * most));
  const asked = [handle, description, a, b, d, d, preference, most] as const;
  try {
    functions.cublasLtMatmulAlgoGetHeuristic(...asked, results, out.place);
  } catch (error) {
    free();
    throw error;
  } finally {
    functions.cublasLtMatmulPreferenceDestroy(preference);
  }
  const statusOf = (index: number): number => results.getInt32(heuristicBytes * index + statusAt, true);
  const found = Array.from({ length: out.int }, (_, index) => index).filter((index) => statusOf(index) === 0);
  if (found.length === 0) {
    free();
    throw cudaError('cublasLtMatmulAlgoGetHeuristic', (out.int > 0 && statusOf(0)) || notSupported, words);
  }

  const one = new Float32Array(32).fill(1); // alpha, and beta of a product that is added
  const zero = new Float32Array(32);
  const algorithm = (index = 0): DataView => new DataView(results.buffer, heuristicBytes * index, heuristicBytes);
  let chosen = algorithm(found[0]);
  return {
    algorithms: found.length,
    choose(index) {
      chosen = algorithm(found[index]);
    },
    run(addresses, accumulate, workspace, stream) {
      if (epilogue) point(addresses);
      const beta = accumulate ? one : zero;
      const operands = [one, addresses.a, a, addresses.b, b, beta, addresses.d, d, addresses.d, d] as const;
      functions.cublasLtMatmul(handle, description, ...operands, chosen, workspace, workspaceLimit, stream);
    },
    [Symbol.dispose]: free,
  };
}

/** Sets the addresses of an epilogue, those that are others than the last time. */
function pointerSetter(set: (attribute: number, value: bigint) => void): (addresses: EpilogueAddresses) => void {
  let last: EpilogueAddresses = {};
  return (addresses) => {
    const { bias, geluInput } = addresses;
    if (bias !== undefined && bias !== last.bias) set(attributes.biasPointer, bias);
    if (geluInput !== undefined && geluInput !== last.geluInput) set(attributes.auxPointer, geluInput);
    last = addresses;
  };
}
