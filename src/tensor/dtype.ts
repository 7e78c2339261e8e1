/** Element types of tensors, and the typed array that shows each to JavaScript. */

/** bf16 and f16 are seen as their raw 16 bits. */
export const dtypes = ['f64', 'f32', 'bf16', 'f16', 'i32'] as const;
export type DType = (typeof dtypes)[number];

export const bytesPerElement: Readonly<Record<DType, number>> = { f64: 8, f32: 4, bf16: 2, f16: 2, i32: 4 };

/** The 16-bit formats of activations and of the copies of weights. */
export const halfTypes = ['bf16', 'f16'] as const;
export type HalfType = (typeof halfTypes)[number];

export const isHalf = (dtype: DType): dtype is HalfType => dtype === 'bf16' || dtype === 'f16';

export type Floats = Float32Array | Float64Array;
export type TensorData = Floats | Int32Array | Uint16Array;

/** The bytes of a typed array, not a copy. */
export const rawBytes = (data: TensorData): Uint8Array =>
  new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);

/** A typed array over `length` elements of a buffer. */
export function viewAs(dtype: DType, buffer: ArrayBuffer, byteOffset: number, length: number): TensorData {
  switch (dtype) {
    case 'f64':
      return new Float64Array(buffer, byteOffset, length);
    case 'f32':
      return new Float32Array(buffer, byteOffset, length);
    case 'i32':
      return new Int32Array(buffer, byteOffset, length);
    case 'bf16':
    case 'f16':
      return new Uint16Array(buffer, byteOffset, length);
  }
}
