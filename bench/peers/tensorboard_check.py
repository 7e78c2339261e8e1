"""Reads our event files with PyPI's TensorBoard and holds every figure against `metrics.jsonl`.

    python3 -m pip install tensorboard numpy
    npm run megatron -- pretrain … --save D --tensorboard-dir T
    python3 bench/peers/tensorboard_check.py T D/metrics.jsonl

Reads the folder as TensorBoard itself does (all event files, with what a resumed run declares void left out). Every figure of
every logged iteration must be there once, in order, as the nearest 32-bit float. Prints one line of JSON; exits 1 at the first difference.
"""

import json
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

TAGS = {
    "lm loss": ("lmLoss", 1),
    "learning-rate": ("learningRate", 1),
    "grad-norm": ("gradNorm", 1),
    "loss-scale": ("lossScale", 1),
    "iteration-time": ("elapsedMs", 1e-3),
    "tokens-per-second": ("tokensPerSecond", 1),
    "throughput": ("modelTflops", 1),
    "memory-bytes": ("memoryBytes", 1),
    "lm loss validation": ("validLoss", 1),
    "lm loss validation ppl": ("validPpl", 1),
}

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
with open(sys.argv[2]) as file:
    metrics = [json.loads(line) for line in file]

compared = 0
for tag, (key, scale) in TAGS.items():
    wanted = [(line["iteration"], line[key]) for line in metrics if key in line]
    found = [(event.step, event.value) for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []
    if [step for step, _ in found] != [step for step, _ in wanted]:
        sys.exit(f"{tag}: steps {[step for step, _ in found][:10]}…, metrics.jsonl has {[step for step, _ in wanted][:10]}…")
    for (step, value), (_, figure) in zip(found, wanted):
        exact = numpy.float32(numpy.nan if figure is None else figure * scale)
        # One unit in the last place: dividing by 1000 and multiplying by 0.001 may round apart.
        same = not numpy.isfinite(value) if figure is None else abs(numpy.float32(value) - exact) <= numpy.spacing(abs(exact))
        if not same:
            sys.exit(f"{tag}, step {step}: TensorBoard reads {value}, metrics.jsonl has {figure}")
        compared += 1

texts = {}
for tag in events.Tags()["tensors"]:
    if events.SummaryMetadata(tag).plugin_data.plugin_name == "text":
        texts[tag] = [tensor_util.make_ndarray(event.tensor_proto)[0].decode()[:40] for event in events.Tensors(tag)]
print(json.dumps({"iterations": len(metrics), "compared": compared, "fileVersion": events.file_version, "texts": texts}))
