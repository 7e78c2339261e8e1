"""PyTorch's bf16 products of a linear layer, one measurement at a time on request.

Argument: the number of threads. Each line of standard input is JSON {kind, tokens, outputs, inputs, repeats}; the answer is the
milliseconds of one product. The first request of a layer makes its tensors and warms up.
"""

import json
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(1)
print(torch.__version__, flush=True)
tensors: dict[tuple[int, int, int], list[torch.Tensor]] = {}

for line in sys.stdin:
    request = json.loads(line)
    tokens, outputs, inputs = request["tokens"], request["outputs"], request["inputs"]
    size = (tokens, outputs, inputs)
    first = size not in tensors
    if first:
        tensors.clear()
        tensors[size] = [
            torch.randn(rows, columns).to(torch.bfloat16)
            for rows, columns in ((tokens, inputs), (outputs, inputs), (tokens, outputs))
        ]
    x, weight, dy = tensors[size]
    product = {
        "forward": lambda: torch.nn.functional.linear(x, weight),
        "dx": lambda: torch.mm(dy, weight),
        "dW": lambda: torch.mm(dy.t(), x),
    }[request["kind"]]
    with torch.no_grad():
        product()
        start = time.perf_counter()
        for _ in range(request["repeats"]):
            product()
        elapsed = time.perf_counter() - start
    print(elapsed * 1000 / request["repeats"], flush=True)
