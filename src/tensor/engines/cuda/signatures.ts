/** What the `.cu` files declare: the names of their functions, and what each parameter is. */

import { EngineError } from '../../../base/errors.ts';

export type CudaParameter = 'pointer' | 'i32' | 'i64' | 'u32' | 'f32' | 'counter';

export interface CudaSignature {
  readonly name: string;
  readonly parameters: readonly CudaParameter[];
}

/** Types of numbers as the sources spell them. */
const numbers: Readonly<Record<string, CudaParameter>> = {
  'long long': 'i64',
  Index: 'i64',
  int64_t: 'i64',
  int: 'i32',
  int32_t: 'i32',
  unsigned: 'u32',
  'unsigned int': 'u32',
  uint32_t: 'u32',
  float: 'f32',
  Counter: 'counter',
};

const bounds = String.raw`(?:__launch_bounds__\s*\([^)]*\)\s*)?`;
const declaration = new RegExp(
  String.raw`extern\s+"C"\s+__global__\s+${bounds}void\s+${bounds}(\w+)\s*\(([^)]*)\)`,
  'g',
);

/** `#define WORD text` over one or several lines; parameters that functions share stand in such a word. */
const definition = /^[ \t]*#define[ \t]+([A-Z_]+)[ \t]+((?:.*\\\n)*.*)$/gm;

/**
 * The functions that a source defines: `extern "C" __global__ void name(…)`, with names that no macro puts together.
 *
 * @throws EngineError where a parameter is of a type that a launch cannot give.
 */
export function signaturesOf(source: string, file: string): readonly CudaSignature[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, ' ').replaceAll(/\/\/.*$/gm, ' ');
  const words = new Map([...code.matchAll(definition)].map(([, word = '', text = '']) => [word, text]));
  const spelled = (list: string): string =>
    list.replaceAll(/\b[A-Z_]+\b/g, (word) => {
      const text = words.get(word);
      return text === undefined ? word : spelled(text);
    });
  return [...code.matchAll(declaration)].map(([, name = '', list = '']) => ({
    name,
    parameters: parametersOf(spelled(list), name, file),
  }));
}

const parametersOf = (list: string, name: string, file: string): CudaParameter[] =>
  list.trim() === ''
    ? []
    : list
        .replaceAll('\\\n', ' ')
        .split(',')
        .map((text) => parameterOf(text, name, file));

function parameterOf(text: string, name: string, file: string): CudaParameter {
  if (text.includes('*')) return 'pointer';
  const words = text.trim().split(/\s+/);
  const type = words.filter((word) => word !== 'const').slice(0, -1);
  const found = numbers[type.join(' ')];
  if (found) return found;
  throw new EngineError(`${file}: ${name} has a parameter that no launch can give: ${text.trim()}`, {
    remedy: `Use a pointer or one of ${Object.keys(numbers).join(', ')}.`,
  });
}
