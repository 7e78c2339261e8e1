"""GPT-2 training steps in PyTorch, for the benchmarks: reads lines `step N`, does N steps, answers milliseconds."""

import json
import math
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

options = json.loads(sys.argv[1])
torch.set_num_threads(options["threads"])
torch.manual_seed(1234)
layers, hidden, heads = options["layers"], options["hidden"], options["heads"]
batch, seq, dropout = options["batch"], options["seq"], options["dropout"]
vocabulary = options.get("vocabulary", 50257)
device = options.get("device", "cpu")


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.projection = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.wide, self.narrow = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, s, 3, heads, h // heads).permute(2, 0, 3, 1, 4)
        p = dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=p)
        x = x + F.dropout(self.projection(context.transpose(1, 2).reshape(b, s, h)), p)
        return x + F.dropout(self.narrow(F.gelu(self.wide(self.norm2(x)))), p)


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, hidden), nn.Embedding(seq, hidden)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() > 1:
                residual = "projection" in name or "narrow" in name
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * layers) if residual else 1))

    def forward(self, tokens, labels):
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        x = F.dropout(x, dropout if self.training else 0.0)
        if options.get("residual") == "bf16":  # autocast leaves it in float32, which is twice the memory to move
            x = x.to(torch.bfloat16)
        for layer in self.layers:
            x = layer(x)
        return self.loss(x, labels)

    def loss(self, x, labels):
        logits = F.linear(self.norm(x), self.words.weight)
        return F.cross_entropy(logits.view(-1, vocabulary), labels.reshape(-1))


torch.set_float32_matmul_precision("high")
with torch.device(device):
    model = Gpt().train()
decayed = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() == 1]
groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, fused=True)
run = model
if options["mode"] == "compile" and device == "cuda":
    # one compilation serves all layers, where that of forty layers as a whole takes minutes
    for layer in model.layers:
        layer.compile()
    model.loss = torch.compile(model.loss)
elif options["mode"] == "compile":
    run = torch.compile(model)

state, text = 1, []
for _ in range(batch * (seq + 1)):
    state = (state * 1664525 + 1013904223) % 2**32
    text.append(state % vocabulary)
rows = torch.tensor(text, device=device).view(batch, seq + 1)
tokens, labels = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


precision = options["precision"]


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = run(tokens, labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


print("ready", flush=True)
last = float("nan")
for line in sys.stdin:
    word, _, count = line.strip().partition(" ")
    if word == "step":
        start = time.perf_counter()
        for _ in range(int(count)):
            loss = step()
        last = loss.item()
        if device == "cuda":
            torch.cuda.synchronize()
        print((time.perf_counter() - start) * 1000, flush=True)
    else:
        told = {"version": torch.__version__, "lossAfter": last}
        told["peakResidentBytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if device == "cuda":
            told["peakTensorBytes"] = torch.cuda.max_memory_allocated()
        print(json.dumps(told), flush=True)
