"""Golden figures of single operators from PyTorch, for the operators' tests.

Inputs are float32 numbers made from keys (nothing of them is stored); PyTorch computes in float64, so the figures are
right to float32 precision and a test's tolerance is the error of our own kernels. Makes test/fixtures/torch/operators.json:

    pip install torch==2.13.0 numpy && python3 bench/peers/torch_ops_fixture.py
"""

import torch
import torch.nn.functional as F

from torch_fixture import encode, integers, numbers, write

UPSTREAM_KEY = 999  # the numbers the output is weighed by; see test/support/operator.ts


def case(inputs, function, **attributes):
    """inputs: name → (shape, key, scale, offset), all differentiated."""
    specs = {name: dict(zip(("shape", "key", "scale", "offset"), spec)) for name, spec in inputs.items()}
    leaves = {
        name: torch.from_numpy(numbers(**spec)).double().requires_grad_(True) for name, spec in specs.items()
    }
    output = function(**leaves)
    upstream = torch.from_numpy(numbers(output.shape, UPSTREAM_KEY)).double()
    (output * upstream).sum().backward()
    return {
        "inputs": specs,
        "attributes": attributes,
        "output": encode(output.detach().numpy()),
        "gradients": {name: encode(leaf.grad.numpy()) for name, leaf in leaves.items()},
    }


def normalized(shape, scale, offset, key):
    return case(
        {"x": (shape, key, scale, offset), "gamma": ([shape[-1]], key + 1, 0.5, 1.0), "beta": ([shape[-1]], key + 2, 0.5, 0.0)},
        lambda x, gamma, beta: F.layer_norm(x, x.shape[-1:], gamma, beta, 1e-5),
        epsilon=1e-5,
    )


def cross_entropy(rows, entries, scale, key):
    labels = integers(rows, key + 1, entries)
    labels[rows // 2] = -1  # no loss, no gradient
    return case(
        {"logits": ([rows, entries], key, scale, 0.0)},
        lambda logits: F.cross_entropy(logits, torch.from_numpy(labels), ignore_index=-1, reduction="none"),
        labels=labels.tolist(),
    )


def embedding(shape, entries, width, key):
    ids = integers(shape[0] * shape[1], key + 1, entries).reshape(shape)
    return case(
        {"table": ([entries, width], key, 1.0, 0.0)},
        lambda table: F.embedding(torch.from_numpy(ids), table),
        ids=ids.reshape(-1).tolist(),
        idsShape=list(shape),
    )


def linear(shape, outputs, key, function):
    inputs = shape[-1]
    return case(
        {
            "x": (shape, key, 1.0, 0.0),
            "weight": ([outputs, inputs], key + 1, 0.5, 0.0),
            "bias": ([outputs], key + 2, 0.5, 0.0),
        },
        function,
    )


def adamw(size, steps, dtype):
    """Ten steps of torch.optim.AdamW on gradients that are numbers by key; the last parameters and moments."""
    options = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    parameter = torch.nn.Parameter(torch.from_numpy(numbers([size], 900)).to(dtype))
    optimizer = torch.optim.AdamW([parameter], **options)
    for step in range(steps):
        parameter.grad = torch.from_numpy(numbers([size], 901 + step)).to(dtype)
        optimizer.step()
    state = optimizer.state[parameter]
    return {
        "size": size,
        "steps": steps,
        "parameters": encode(parameter.detach().numpy()),
        "firstMoments": encode(state["exp_avg"].numpy()),
        "secondMoments": encode(state["exp_avg_sq"].numpy()),
    }


def casts():
    """Raw bits of bf16 and f16 roundings of float32 numbers over many magnitudes."""
    mantissas = torch.from_numpy(numbers([96], 950))
    exponents = torch.from_numpy(integers(96, 951, 44) - 28)
    x = (mantissas.double() * torch.pow(2.0, exponents.double())).float()
    bits = lambda dtype: (x.to(dtype).view(torch.int16).int() & 0xFFFF).tolist()
    return {"x": encode(x.numpy()), "bf16": bits(torch.bfloat16), "f16": bits(torch.float16)}


def gelu(form):
    approximate = {"erf": "none", "tanh": "tanh"}[form]
    return lambda x: F.gelu(x, approximate=approximate)


write(
    "operators.json",
    {
        "torch": torch.__version__,
        "cases": {
            "layerNorm width 1": normalized([3, 1], 1.0, 0.0, 10),
            "layerNorm width 5": normalized([2, 7, 5], 1.0, 0.0, 20),
            "layerNorm width 65": normalized([7, 65], 3.0, 1.0, 30),
            "layerNorm width 257": normalized([3, 257], 1.0, 0.0, 40),
            "layerNorm offset 10000": normalized([3, 65], 1.0, 10000.0, 50),
            "gelu erf": case({"x": ([257], 100, 6.0, 0.0)}, gelu("erf"), form="erf"),
            "gelu tanh": case({"x": ([257], 100, 6.0, 0.0)}, gelu("tanh"), form="tanh"),
            "gelu erf large": case({"x": ([17], 110, 10000.0, 0.0)}, gelu("erf"), form="erf"),
            "gelu tanh large": case({"x": ([17], 110, 10000.0, 0.0)}, gelu("tanh"), form="tanh"),
            "softmax width 1": case({"x": ([7, 1], 200, 1.0, 0.0)}, lambda x: F.softmax(x, -1)),
            "softmax width 65": case({"x": ([3, 65], 210, 4.0, 0.0)}, lambda x: F.softmax(x, -1)),
            "softmax width 257": case({"x": ([2, 257], 220, 20.0, 0.0)}, lambda x: F.softmax(x, -1)),
            "softmax large": case({"x": ([3, 17], 230, 1000.0, 0.0)}, lambda x: F.softmax(x, -1)),
            "logSoftmax width 1": case({"x": ([7, 1], 240, 1.0, 0.0)}, lambda x: F.log_softmax(x, -1)),
            "logSoftmax width 65": case({"x": ([3, 65], 250, 4.0, 0.0)}, lambda x: F.log_softmax(x, -1)),
            "logSoftmax offset 10000": case({"x": ([3, 17], 260, 2.0, 10000.0)}, lambda x: F.log_softmax(x, -1)),
            "crossEntropy 7 x 65": cross_entropy(7, 65, 3.0, 300),
            "crossEntropy 3 x 257": cross_entropy(3, 257, 3.0, 310),
            "crossEntropy 5 x 17 large": cross_entropy(5, 17, 3000.0, 320),
            "crossEntropy 1 entry": cross_entropy(3, 1, 1.0, 330),
            "linear 2 x 7 x 5 to 17": linear([2, 7, 5], 17, 400, F.linear),
            "linear 1 x 65 to 1": linear([1, 65], 1, 410, F.linear),
            "linearGelu erf": linear([2, 7, 5], 17, 420, lambda x, weight, bias: gelu("erf")(F.linear(x, weight, bias))),
            "linearGelu tanh": linear([3, 17], 7, 430, lambda x, weight, bias: gelu("tanh")(F.linear(x, weight, bias))),
            "matmul 7 x 17 x 5": case(
                {"a": ([7, 17], 500, 1.0, 0.0), "b": ([17, 5], 501, 1.0, 0.0)}, lambda a, b: a @ b
            ),
            "add": case({"a": ([3, 7], 600, 1.0, 0.0), "b": ([3, 7], 601, 1.0, 0.0)}, lambda a, b: a + b),
            "multiply": case({"a": ([3, 7], 610, 1.0, 0.0), "b": ([3, 7], 611, 1.0, 0.0)}, lambda a, b: a * b),
            "embedding": embedding((3, 7), 11, 5, 700),
            "biasDropoutAdd": case(
                {"x": ([2, 3, 7], 800, 1.0, 0.0), "bias": ([7], 801, 1.0, 0.0), "residual": ([2, 3, 7], 802, 1.0, 0.0)},
                lambda x, bias, residual: residual + (x + bias),
            ),
        },
        "adamw": adamw(17, 10, torch.float64),
        "cast": casts(),
    },
)
