/** One option: what the schema knows about it (kind, default, choices) and what its help says. */

import { z } from 'zod';
import { flagName } from '../base/flag-name.ts';

/** Topics of `--help`, in the order they are printed. */
export const flagGroups = [
  'Model',
  'Training',
  'Precision',
  'Parallelism',
  'Memory',
  'Learning rate',
  'Data',
  'Tokenizer',
  'Evaluation',
  'Output',
  'Profiling',
  'Generation',
  'Engine',
] as const;
export type FlagGroup = (typeof flagGroups)[number];

export interface FlagInfo {
  readonly group: FlagGroup;
  /** What it does, as a phrase without a full stop; says the unit where there is one. */
  readonly help: string;
  /** Word for the value in the usage line: N, DIR, FILE … */
  readonly value?: string;
  /** Words for a default that the schema cannot show, because it follows from other options. */
  readonly default?: string;
}

/** Help of every option, kept beside its schema. Filled while modules load, read-only afterwards. */
const flagInfos = z.registry<FlagInfo>();

/** Attaches its help to an option's schema. */
export function flag<Schema extends z.ZodType>(schema: Schema, info: FlagInfo): Schema {
  flagInfos.add(schema, info);
  return schema;
}

export type FlagKind = 'boolean' | 'number' | 'string' | 'choice' | 'list';

/** An option as the parser and the help see it. */
export interface Flag extends FlagInfo {
  /** Key in the configuration: `numLayers`. */
  readonly key: string;
  /** Name without dashes, on the command line and in YAML: `num-layers`. */
  readonly name: string;
  readonly kind: FlagKind;
  readonly required: boolean;
  readonly defaultValue: unknown;
  /** Words that a choice may be, or that a number may be instead. */
  readonly choices: readonly string[];
}

/** The options of a command's schema, in their order. */
export function flagsOf(schema: z.ZodObject): readonly Flag[] {
  return Object.entries(schema.shape).map(([key, option]) => {
    const info = flagInfos.get(option);
    if (info === undefined) throw new TypeError(`option ${key} has no help: wrap its schema in flag(…)`);
    return { ...info, ...traitsOf(option), key, name: flagName(key) };
  });
}

type Traits = Pick<Flag, 'kind' | 'required' | 'defaultValue' | 'choices'>;

function traitsOf(schema: z.core.$ZodType): Traits {
  if (schema instanceof z.ZodDefault) {
    const inner = traitsOf(schema.def.innerType);
    return { ...inner, required: false, defaultValue: schema.def.defaultValue };
  }
  if (schema instanceof z.ZodOptional) return { ...traitsOf(schema.def.innerType), required: false };
  if (schema instanceof z.ZodReadonly) return traitsOf(schema.def.innerType);
  const plain = { required: true, defaultValue: undefined, choices: [] };
  if (schema instanceof z.ZodBoolean) return { ...plain, kind: 'boolean' };
  if (schema instanceof z.ZodNumber) return { ...plain, kind: 'number' };
  if (schema instanceof z.ZodString) return { ...plain, kind: 'string' };
  if (schema instanceof z.ZodEnum) return { ...plain, kind: 'choice', choices: schema.options.map(String) };
  if (schema instanceof z.ZodUnion) {
    const [number, word] = schema.options; // 4 or auto
    if (number instanceof z.ZodNumber && word instanceof z.ZodLiteral) {
      return { ...plain, kind: 'number', choices: word.def.values.map(String) };
    }
  }
  if (schema instanceof z.ZodArray) return { ...plain, kind: 'list' };
  throw new TypeError(`options of type ${schema._zod.def.type} cannot be given on a command line`);
}
