"""A small GPT in PyTorch whose loss, gradients and first ten AdamW steps ours must reproduce.

The architecture is the paper's (pre-LN, tied embeddings, learned positions, a final layer norm, biases everywhere), with
Megatron's fused query-key-value weight, whose rows are [head, (q, k, v), width]. Weights and tokens are made from keys, so
none are stored. Everything is computed in float64, and again in float32 to show what PyTorch itself loses. Makes
test/fixtures/torch/gpt.json:

    pip install torch==2.13.0 numpy && python3 bench/peers/torch_gpt_fixture.py
"""

import math

import torch
import torch.nn.functional as F

from torch_fixture import encode, integers, numbers, write

LAYERS, HIDDEN, HEADS, SEQUENCE, VOCABULARY, BATCH = 2, 32, 4, 24, 67, 3
EPSILON, STEPS, LEARNING_RATE, DECAY, CLIP = 1e-5, 10, 1e-3, 0.01, 1.0
FEED_FORWARD = 4 * HIDDEN


def parameter_specs():
    """name → shape, key, scale, offset, in the order of the model."""
    matrix, bias, scale = (0.25, 0.0), (0.1, 0.0), (0.3, 1.0)
    shapes = {
        "embedding.word_embeddings.weight": ([VOCABULARY, HIDDEN], (0.4, 0.0)),
        "embedding.position_embeddings.weight": ([SEQUENCE, HIDDEN], (0.2, 0.0)),
    }
    for layer in range(LAYERS):
        name = f"decoder.layers.{layer}"
        shapes |= {
            f"{name}.input_layernorm.weight": ([HIDDEN], scale),
            f"{name}.input_layernorm.bias": ([HIDDEN], bias),
            f"{name}.self_attention.linear_qkv.weight": ([3 * HIDDEN, HIDDEN], matrix),
            f"{name}.self_attention.linear_qkv.bias": ([3 * HIDDEN], bias),
            f"{name}.self_attention.linear_proj.weight": ([HIDDEN, HIDDEN], matrix),
            f"{name}.self_attention.linear_proj.bias": ([HIDDEN], bias),
            f"{name}.pre_mlp_layernorm.weight": ([HIDDEN], scale),
            f"{name}.pre_mlp_layernorm.bias": ([HIDDEN], bias),
            f"{name}.mlp.linear_fc1.weight": ([FEED_FORWARD, HIDDEN], matrix),
            f"{name}.mlp.linear_fc1.bias": ([FEED_FORWARD], bias),
            f"{name}.mlp.linear_fc2.weight": ([HIDDEN, FEED_FORWARD], matrix),
            f"{name}.mlp.linear_fc2.bias": ([HIDDEN], bias),
        }
    shapes |= {"decoder.final_layernorm.weight": ([HIDDEN], scale), "decoder.final_layernorm.bias": ([HIDDEN], bias)}
    return {
        name: {"shape": shape, "key": 1000 + i, "scale": spread[0], "offset": spread[1]}
        for i, (name, (shape, spread)) in enumerate(shapes.items())
    }


SPECS = parameter_specs()
TOKENS = torch.from_numpy(integers(BATCH * SEQUENCE, 2000, VOCABULARY)).view(BATCH, SEQUENCE)
LABELS = torch.from_numpy(integers(BATCH * SEQUENCE, 2001, VOCABULARY)).view(BATCH, SEQUENCE)
MASK = torch.from_numpy((integers(BATCH * SEQUENCE, 2002, 5) > 0).astype("float64")).view(BATCH, SEQUENCE)


def loss_of(p, gelu):
    def normalize(x, name):
        return F.layer_norm(x, [HIDDEN], p[f"{name}.weight"], p[f"{name}.bias"], EPSILON)

    def linear(x, name):
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    x = F.embedding(TOKENS, p["embedding.word_embeddings.weight"]) + p["embedding.position_embeddings.weight"]
    hidden_from = torch.ones(SEQUENCE, SEQUENCE, dtype=torch.bool).triu(1)
    for layer in range(LAYERS):
        name = f"decoder.layers.{layer}"
        mixed = linear(normalize(x, f"{name}.input_layernorm"), f"{name}.self_attention.linear_qkv")
        q, k, v = mixed.view(BATCH, SEQUENCE, HEADS, 3, -1).permute(3, 0, 2, 1, 4)  # each [b, n, s, d]
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(hidden_from, -math.inf)
        context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(BATCH, SEQUENCE, HIDDEN)
        x = x + linear(context, f"{name}.self_attention.linear_proj")
        wide = linear(normalize(x, f"{name}.pre_mlp_layernorm"), f"{name}.mlp.linear_fc1")
        x = x + linear(F.gelu(wide, approximate=gelu), f"{name}.mlp.linear_fc2")
    logits = normalize(x, "decoder.final_layernorm") @ p["embedding.word_embeddings.weight"].T
    losses = F.cross_entropy(logits.view(-1, VOCABULARY), LABELS.view(-1), reduction="none").view(BATCH, SEQUENCE)
    mask = MASK.to(losses.dtype)
    return (losses * mask).sum() / mask.sum()


def run(dtype, gelu):
    parameters = {
        name: torch.from_numpy(numbers(**spec)).to(dtype).requires_grad_(True) for name, spec in SPECS.items()
    }
    decayed = [tensor for tensor in parameters.values() if tensor.dim() > 1]
    others = [tensor for tensor in parameters.values() if tensor.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    losses, norms, first = [], [], None
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(parameters, gelu)
        loss.backward()
        gradients = {name: tensor.grad.clone() for name, tensor in parameters.items()}
        first = first or gradients
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients.values()]))
        factor = min(1.0, CLIP / (norm.item() + 1e-6))
        for tensor in parameters.values():
            tensor.grad.mul_(factor)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return {"losses": losses, "norms": norms, "gradients": first}


def variant(gelu, with_gradients):
    exact, single = run(torch.float64, gelu), run(torch.float32, gelu)
    differences = [
        ((single["gradients"][name].double() - gradient).abs().max() / gradient.abs().max()).item()
        for name, gradient in exact["gradients"].items()
    ]
    gradients = {name: encode(gradient.numpy()) for name, gradient in exact["gradients"].items()}
    return {
        "losses": exact["losses"],
        "gradientNorms": exact["norms"],
        **({"gradients": gradients} if with_gradients else {}),
        "float32": {"losses": single["losses"], "worstGradientDifference": max(differences)},
    }


write(
    "gpt.json",
    {
        "torch": torch.__version__,
        "config": {
            "numLayers": LAYERS,
            "hiddenSize": HIDDEN,
            "numAttentionHeads": HEADS,
            "maxPositionEmbeddings": SEQUENCE,
            "vocabSize": VOCABULARY,
            "layernormEpsilon": EPSILON,
        },
        "optimizer": {"learningRate": LEARNING_RATE, "weightDecay": DECAY, "clip": CLIP},
        "batch": BATCH,
        "tokens": TOKENS.reshape(-1).tolist(),
        "labels": LABELS.reshape(-1).tolist(),
        "mask": MASK.reshape(-1).int().tolist(),
        "parameters": SPECS,
        "erf": variant("none", True),
        "tanh": variant("tanh", False),
    },
)
