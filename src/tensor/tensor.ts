/** A tensor: contiguous, row-major numbers in an engine's memory, freed when nobody holds it any more. */

import { EngineError, ShapeError } from '../base/errors.ts';
import type { Block, MemoryKind } from './allocator.ts';
import { bytesPerElement, type DType, isHalf, rawBytes, type TensorData, viewAs } from './dtype.ts';
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
    tensor.fill(0);
    return tensor;
  }

  /** A tensor with these numbers, row by row. @throws ShapeError when the count does not fit the shape. */
  static from(engine: Engine, values: ArrayLike<number>, shape: Shape, options: TensorOptions = {}): Tensor {
    if (values.length !== sizeOf(shape)) {
      throw new ShapeError(`${values.length} values do not fill the shape ${formatShape(shape)}`);
    }
    const tensor = Tensor.empty(engine, shape, options);
    tensor.write(values);
    return tensor;
  }

  /** A new tensor with the same numbers. */
  static copyOf(source: Tensor): Tensor {
    const tensor = Tensor.empty(source.engine, source.shape, { dtype: source.dtype });
    tensor.copyFrom(source);
    return tensor;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /**
   * The numbers themselves (16-bit ones as raw bits), not a copy; must not be used after the tensor is disposed.
   *
   * @throws EngineError where they lie in a device's memory: `read` and `write` work everywhere.
   */
  get data(): TensorData {
    this.#assertAlive();
    const { buffer } = this.#storage.block;
    if (!buffer) throw new EngineError(`the numbers of a tensor ${formatShape(this.shape)} lie on the GPU`);
    this.#data ??= viewAs(
      this.dtype,
      buffer,
      this.#storage.block.byteOffset + this.#offset * bytesPerElement[this.dtype],
      this.size,
    );
    return this.#data;
  }

  /** The raw bytes, not a copy; the same care as with `data`. */
  get bytes(): Uint8Array {
    return rawBytes(this.data);
  }

  /** Native address of the first element. */
  get address(): bigint {
    this.#assertAlive();
    return this.#storage.block.address + BigInt(this.#offset * bytesPerElement[this.dtype]);
  }

  /** The numbers to look at (16-bit ones as raw bits), not to change: themselves where JavaScript sees them, else a copy. */
  read(): TensorData {
    this.#assertAlive();
    const { device } = this.engine.backend;
    if (!device) return this.data;
    const bytes = new Uint8Array(this.#byteLength);
    device.download(this.address, bytes);
    return this.#view(bytes);
  }

  /** Writes numbers from element `start` on; 16-bit types round them. */
  write(values: ArrayLike<number>, start = 0): void {
    this.#assertAlive();
    const { dtype, engine } = this;
    const { device } = engine.backend;
    if (start < 0 || start + values.length > this.size) {
      throw new ShapeError(`${values.length} values from ${start} on do not fit into ${formatShape(this.shape)}`);
    }
    const into = device
      ? viewAs(dtype, new ArrayBuffer(values.length * bytesPerElement[dtype]), 0, values.length)
      : this.data.subarray(start, start + values.length);
    if (isHalf(dtype)) encodeHalves(values, dtype, into as Uint16Array);
    else into.set(values);
    device?.upload(this.address + BigInt(start * bytesPerElement[dtype]), rawBytes(into));
  }

  /** Lets `change` write the raw bytes, all of them: the memory itself where JavaScript sees it, else a copy that is sent. */
  writeBytes(change: (bytes: Uint8Array) => void): void {
    const { device } = this.engine.backend;
    if (!device) {
      change(this.bytes);
      return;
    }
    const bytes = new Uint8Array(this.#byteLength);
    change(bytes);
    device.upload(this.address, bytes);
  }

  /** Writes one number everywhere. */
  fill(value: number): void {
    const { device } = this.engine.backend;
    const pattern = viewAs(this.dtype, new ArrayBuffer(bytesPerElement[this.dtype]), 0, 1);
    if (isHalf(this.dtype)) encodeHalves([value], this.dtype, pattern as Uint16Array);
    else pattern[0] = value;
    if (device) device.fill(this.address, rawBytes(pattern), this.size);
    else this.data.fill(pattern[0] as number);
  }

  /** Takes the numbers of a tensor of the same type and size on the same engine. */
  copyFrom(source: Tensor): void {
    if (source.dtype !== this.dtype || source.size !== this.size || source.engine !== this.engine) {
      throw new ShapeError(
        `${source.dtype} ${formatShape(source.shape)} was copied to ${this.dtype} ${formatShape(this.shape)}`,
      );
    }
    const { device } = this.engine.backend;
    if (device) device.copy(this.address, source.address, this.#byteLength);
    else this.bytes.set(source.bytes);
  }

  /** A copy of the numbers as a plain array. */
  toArray(): number[] {
    return this.#numbersOf(this.read());
  }

  /** The one number of a tensor of one element. */
  item(): number {
    if (this.size !== 1) throw new ShapeError(`item() wants one element, the shape is ${formatShape(this.shape)}`);
    return this.toArray()[0] as number;
  }

  /**
   * The one number of a tensor of one element, as it is now; the result waits for it when it is called. A device goes on
   * working meanwhile, where `item` would let it run empty.
   */
  itemLater(): () => number {
    const { device } = this.engine.backend;
    if (!device || this.size !== 1) {
      const value = this.item();
      return () => value;
    }
    const fetch = device.downloadLater(this.address, this.#byteLength);
    return () => this.#numbersOf(this.#view(fetch()))[0] as number;
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

  /** Takes the tensor out of the scope that it was made in: it lives until its maker disposes of it. @returns the tensor */
  outliveScope(): this {
    this.engine.forget(this);
    return this;
  }

  /** Gives up the maker's hold; calling it twice is harmless. */
  [Symbol.dispose](): void {
    if (!this.#held) return;
    this.#held = false;
    this.engine.forget(this);
    this.grad?.[Symbol.dispose]();
    this.#dropIfUnheld();
  }

  get #byteLength(): number {
    return this.size * bytesPerElement[this.dtype];
  }

  #view(bytes: Uint8Array<ArrayBuffer>): TensorData {
    return viewAs(this.dtype, bytes.buffer, bytes.byteOffset, this.size);
  }

  #numbersOf(data: TensorData): number[] {
    if (!isHalf(this.dtype)) return Array.from(data);
    const values = new Float32Array(data.length);
    decodeHalves(data as Uint16Array, this.dtype, values);
    return Array.from(values);
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
