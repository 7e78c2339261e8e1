/** A tensor: contiguous, row-major numbers in an engine's memory, freed when nobody holds it any more. */

import { EngineError, ShapeError } from '../base/errors.ts';
import type { Block, MemoryKind } from './allocator.ts';
import { bytesPerElement, type DType, isHalf, type TensorData, viewAs } from './dtype.ts';
import type { Engine } from './engine.ts';
import { decodeHalves, encodeHalves } from './halves.ts';
import { expectSizes, formatShape, type Shape, sizeOf } from './shape.ts';

/** Memory shared by a tensor and its views; goes back to the allocator with the last of them. */
class Storage {
  readonly engine: Engine;
  readonly block: Block;
  readonly kind: MemoryKind;
  #holders = 0;

  constructor(engine: Engine, bytes: number, kind: MemoryKind) {
    this.engine = engine;
    this.block = engine.memory.allocate(bytes, kind);
    this.kind = kind;
  }

  hold(): void {
    this.#holders++;
  }

  get holders(): number {
    return this.#holders;
  }

  drop(): void {
    if (--this.#holders === 0) this.engine.memory.release(this.block, this.kind);
  }
}

export interface TensorOptions {
  /** The engine's float type where not given. */
  readonly dtype?: DType;
  readonly kind?: MemoryKind;
  readonly requiresGrad?: boolean;
}

/**
 * A tensor is alive while its maker holds it (until `dispose`, or the end of a `using` block or engine scope) or while a
 * tape retains it. Ops never free their inputs.
 */
export class Tensor implements Disposable {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly requiresGrad: boolean;
  /** For a leaf that requires one: where backward adds this tensor's gradient. Same shape. */
  grad: Tensor | undefined;
  readonly #storage: Storage;
  /** In elements. */
  readonly #offset: number;
  #held = true;
  #retains = 0;
  #data: TensorData | undefined;

  private constructor(storage: Storage, shape: Shape, dtype: DType, offset: number, requiresGrad: boolean) {
    this.engine = storage.engine;
    this.shape = shape;
    this.dtype = dtype;
    this.requiresGrad = requiresGrad;
    this.#storage = storage;
    this.#offset = offset;
    storage.hold();
    this.engine.adopt(this);
  }

  /** A tensor with undefined contents. */
  static empty(engine: Engine, shape: Shape, options: TensorOptions = {}): Tensor {
    expectSizes(shape);
    const dtype = options.dtype ?? engine.floatType;
    const bytes = Math.max(1, sizeOf(shape)) * bytesPerElement[dtype];
    const storage = new Storage(engine, bytes, options.kind ?? 'activations');
    return new Tensor(storage, shape, dtype, 0, options.requiresGrad ?? false);
  }

  static zeros(engine: Engine, shape: Shape, options: TensorOptions = {}): Tensor {
    const tensor = Tensor.empty(engine, shape, options);
    tensor.data.fill(0);
    return tensor;
  }

  /** A tensor with these numbers, row by row. @throws ShapeError when the count does not fit the shape. */
  static from(engine: Engine, values: ArrayLike<number>, shape: Shape, options: TensorOptions = {}): Tensor {
    if (values.length !== sizeOf(shape)) {
      throw new ShapeError(`${values.length} values do not fill the shape ${formatShape(shape)}`);
    }
    const tensor = Tensor.empty(engine, shape, options);
    const { data, dtype } = tensor;
    if (isHalf(dtype)) encodeHalves(values, dtype, data as Uint16Array);
    else data.set(values);
    return tensor;
  }

  /** A new tensor with the same numbers. */
  static copyOf(source: Tensor): Tensor {
    const tensor = Tensor.empty(source.engine, source.shape, { dtype: source.dtype });
    tensor.bytes.set(source.bytes);
    return tensor;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** The numbers themselves (16-bit ones as raw bits), not a copy; must not be used after the tensor is disposed. */
  get data(): TensorData {
    this.#assertAlive();
    this.#data ??= viewAs(
      this.dtype,
      this.#storage.block.buffer,
      this.#storage.block.byteOffset + this.#offset * bytesPerElement[this.dtype],
      this.size,
    );
    return this.#data;
  }

  /** The raw bytes, not a copy; the same care as with `data`. */
  get bytes(): Uint8Array {
    const data = this.data;
    return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  }

  /** Native address of the first element. */
  get address(): bigint {
    this.#assertAlive();
    return this.#storage.block.address + BigInt(this.#offset * bytesPerElement[this.dtype]);
  }

  /** A copy of the numbers as a plain array. */
  toArray(): number[] {
    if (!isHalf(this.dtype)) return Array.from(this.data);
    const values = new Float32Array(this.size);
    decodeHalves(this.data as Uint16Array, this.dtype, values);
    return Array.from(values);
  }

  /** The one number of a tensor of one element. */
  item(): number {
    if (this.size !== 1) throw new ShapeError(`item() wants one element, the shape is ${formatShape(this.shape)}`);
    return this.toArray()[0] as number;
  }

  /** The same memory under another shape or from another element on; shares life with this one. */
  view(shape: Shape, offset = 0, requiresGrad = false): Tensor {
    this.#assertAlive();
    expectSizes(shape);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + sizeOf(shape) > this.size) {
      throw new ShapeError(`a view ${formatShape(shape)} at ${offset} leaves the tensor ${formatShape(this.shape)}`);
    }
    return new Tensor(this.#storage, shape, this.dtype, this.#offset + offset, requiresGrad);
  }

  /** Keeps the tensor alive until `release`, whoever disposes it. For tapes and caches. */
  retain(): this {
    this.#assertAlive();
    this.#retains++;
    return this;
  }

  release(): void {
    if (this.#retains === 0) throw new EngineError('a tensor was released more often than retained');
    this.#retains--;
    this.#dropIfUnheld();
  }

  /** How many hold this tensor: its maker and every `retain`. */
  get holders(): number {
    return this.#retains + (this.#held ? 1 : 0);
  }

  /** Whether one holder has this tensor, and no other tensor is a view of the same memory. */
  get isExclusive(): boolean {
    return this.holders === 1 && this.#storage.holders === 1;
  }

  /** Whether one is a view of the other, or both of a third. */
  sharesMemory(other: Tensor): boolean {
    return this.#storage === other.#storage;
  }

  /** Gives up the maker's hold; calling it twice is harmless. */
  [Symbol.dispose](): void {
    if (!this.#held) return;
    this.#held = false;
    this.engine.forget(this);
    this.grad?.[Symbol.dispose]();
    this.#dropIfUnheld();
  }

  #dropIfUnheld(): void {
    if (this.holders > 0) return;
    this.#data = undefined;
    this.#storage.drop();
  }

  #assertAlive(): void {
    if (this.holders === 0) throw new EngineError(`a disposed tensor ${formatShape(this.shape)} was used`);
  }
}
