/**
 * Floating-point operations of one training token, by the two conventions that are in use, so that figures can be compared.
 *
 * Notation: h hidden, f feed-forward width, L layers, s sequence, v vocabulary, N parameters. A multiply-add counts two;
 * the backward pass costs twice the forward pass.
 */

export interface TransformerShape {
  readonly numLayers: number;
  readonly hiddenSize: number;
  /** Default 4h. */
  readonly ffnHiddenSize?: number;
  readonly sequenceLength: number;
  /** Rows of the output projection as computed, padding included. */
  readonly vocabularySize: number;
  /** False for bidirectional attention (BERT), which does the whole s×s matrix. Default true. */
  readonly causal?: boolean;
}

/** FLOPs of the forward pass through all layers, per token: matrix products alone. */
function layersForward(shape: TransformerShape): number {
  const { numLayers, hiddenSize: h, ffnHiddenSize: f = 4 * h } = shape;
  return numLayers * (8 * h * h + 4 * h * f);
}

/** FLOPs of QKᵀ and AV in the forward pass, per token: 4sh a layer, half of it under a causal mask. */
function attentionForward(shape: TransformerShape): number {
  return shape.numLayers * 4 * shape.sequenceLength * shape.hiddenSize * (shape.causal === false ? 1 : 0.5);
}

/**
 * Model FLOPs per token, "causal matmul": every matrix product that the model needs, the causal half of attention, no embedding look-up,
 * no recomputation: 6·(L(4h² + 2hf) + hv) + 6Lsh. Source: Megatron-LM `num_floating_point_operations`.
 */
export function modelFlopsPerToken(shape: TransformerShape): number {
  return 3 * (layersForward(shape) + attentionForward(shape) + 2 * shape.hiddenSize * shape.vocabularySize);
}

/**
 * PaLM's convention: 6N + 12Lhs, with all N parameters (input embedding included) and the whole s×s matrix of attention.
 * Source: Chowdhery et al. 2022, appendix B; nanoGPT and others report it.
 */
export function palmFlopsPerToken(
  shape: Pick<TransformerShape, 'numLayers' | 'hiddenSize' | 'sequenceLength'> & { readonly parameterCount: number },
): number {
  return 6 * shape.parameterCount + 12 * shape.numLayers * shape.hiddenSize * shape.sequenceLength;
}

/** Layers whose forward pass is run a second time in the backward pass, to save memory. */
export interface RecomputedLayers {
  readonly layers: number;
  /** Groups of layers of which each skips its very last product, f → h, because nothing reads the result. Default 0. */
  readonly groups?: number;
}

/**
 * FLOPs that the machine does per token: model FLOPs and those of recomputed layers. Where all layers are recomputed to the
 * last product, these are the hardware FLOPs of Korthikanti et al. 2022, appendix A. Layer norms and GELU cost none in this count.
 */
export function hardwareFlopsPerToken(shape: TransformerShape, { layers, groups = 0 }: RecomputedLayers): number {
  const { numLayers, hiddenSize: h, ffnHiddenSize: f = 4 * h } = shape;
  const again = (layers / numLayers) * (layersForward(shape) + attentionForward(shape)) - groups * 2 * h * f;
  return modelFlopsPerToken(shape) + again;
}
