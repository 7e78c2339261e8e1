/** Megatron's indexed data set: the layout of `.idx` and `.bin` files, names and token dtypes. */

/**
 * An `.idx` file, little-endian and unpadded, for S sequences and D document boundaries:
 *
 * | offset       | bytes | content                                                                |
 * |--------------|-------|------------------------------------------------------------------------|
 * | 0            | 9     | magic "MMIDIDX\0\0"                                                    |
 * | 9            | 8     | version, 1                                                             |
 * | 17           | 1     | dtype code of the tokens                                               |
 * | 18           | 8     | S                                                                      |
 * | 26           | 8     | D                                                                      |
 * | 34           | 4·S   | tokens of each sequence, int32                                         |
 * | 34 + 4·S     | 8·S   | byte offset of each sequence in the `.bin` file, int64                 |
 * | 34 + 12·S    | 8·D   | first sequence of each document, int64; the last entry is S            |
 *
 * The `.bin` file is the tokens one after another. (`megatron/core/datasets/indexed_dataset.py`.)
 */
export const indexMagic = Buffer.from('MMIDIDX\0\0', 'latin1');
/** Magic of the older cached and lazy format, which is not supported. */
export const legacyMagic = Buffer.from('TNTIDX\0\0', 'latin1');
export const indexVersion = 1;
export const indexHeaderBytes = 34;

/** Dtypes that hold token ids. */
const tokenDtypes = ['uint8', 'int8', 'int16', 'int32', 'int64', 'uint16'] as const;
export type TokenDtype = (typeof tokenDtypes)[number];

/** What the dtype codes of the format stand for. */
const dtypeNames: Readonly<Record<number, TokenDtype | 'float64' | 'float32'>> = {
  1: 'uint8',
  2: 'int8',
  3: 'int16',
  4: 'int32',
  5: 'int64',
  6: 'float64',
  7: 'float32',
  8: 'uint16',
};

/** The name of a dtype code; undefined for a code the format does not know. */
export function dtypeOfCode(code: number): TokenDtype | 'float64' | 'float32' | undefined {
  return dtypeNames[code];
}

export function codeOfDtype(dtype: TokenDtype): number {
  const codes: Record<TokenDtype, number> = { uint8: 1, int8: 2, int16: 3, int32: 4, int64: 5, uint16: 8 };
  return codes[dtype];
}

export function bytesOfDtype(dtype: TokenDtype): number {
  const bytes: Record<TokenDtype, number> = { uint8: 1, int8: 1, int16: 2, int32: 4, int64: 8, uint16: 2 };
  return bytes[dtype];
}

export function isTokenDtype(name: string): name is TokenDtype {
  return (tokenDtypes as readonly string[]).includes(name);
}

/** Dtypes that are written. */
export type WrittenDtype = 'uint16' | 'int32';

/** Megatron's choice: two bytes a token for vocabularies below 65,500 ids, else four. */
export function optimalDtype(vocabSize: number): WrittenDtype {
  return vocabSize < 65500 ? 'uint16' : 'int32';
}

export function binPath(prefix: string): string {
  return `${prefix}.bin`;
}

export function idxPath(prefix: string): string {
  return `${prefix}.idx`;
}
