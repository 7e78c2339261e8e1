"""PyTorch's figures for attention: outputs and gradients of scaled_dot_product_attention in float64.

    python3 -m pip install torch==2.13.0 numpy
    python3 bench/peers/attention_golden.py > src/ops/attention/fixtures/torch-attention.json

Inputs are a function of (key, index), the same as test/support/numbers.ts makes, so only the results are kept: float32,
little-endian, base64.
"""

import base64
import json

import numpy as np
import torch


def numbers(shape, key, scale=1):
    """Twin of `numbers` in test/support/numbers.ts: float32, uniform in ±scale."""
    mask = np.uint64(0xFFFFFFFF)
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    x = (index * np.uint64(0x9E3779B1) + np.uint64(key) * np.uint64(0x85EBCA77)) & mask
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & mask
    x ^= x >> np.uint64(14)
    return (scale * (x.astype(np.float64) / 2**31 - 1)).astype(np.float32).reshape(shape)


def encode(tensor):
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


def case(b, s, n, d, causal, first_key=None):
    qkv = torch.from_numpy(numbers((b, s, n * 3 * d), 1, scale=3)).double().requires_grad_()
    q, k, v = qkv.view(b, s, n, 3, d).permute(3, 0, 2, 1, 4)  # each [b, n, s, d]
    mask = None
    if first_key is not None:
        at = torch.arange(s)
        mask = at[None, None, None, :] >= torch.tensor(first_key)[:, None, :, None]
        if causal:
            mask = mask & (at[None, :] <= at[:, None])
    attend = torch.nn.functional.scaled_dot_product_attention
    out = attend(q, k, v, attn_mask=mask, is_causal=causal and mask is None)
    out = out.transpose(1, 2).reshape(b, s, n * d)
    (out * torch.from_numpy(numbers(tuple(out.shape), 999)).double()).sum().backward()
    return {
        "shape": [b, s, n * 3 * d],
        "heads": n,
        "causal": causal,
        "firstKey": None if first_key is None else [key for row in first_key for key in row],
        "output": encode(out),
        "gradient": encode(qkv.grad),
    }


def documents(starts, s):
    return [max(start for start in starts if start <= i) for i in range(s)]


print(
    json.dumps(
        {
            "torch": torch.__version__,
            "cases": {
                "one position": case(2, 1, 2, 5, True),
                "causal, d 5": case(2, 7, 2, 5, True),
                "causal, d 16, over a tile": case(1, 130, 1, 16, True),
                "not causal, d 20": case(1, 33, 2, 20, False),
                "documents, d 8": case(2, 50, 1, 8, True, [documents([0, 3, 31], 50), documents([0, 49], 50)]),
            },
        },
        indent=1,
    )
)
