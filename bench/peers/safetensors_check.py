"""Reads checkpoint shards with PyPI's safetensors and holds every tensor against the manifest.

    python3 -m pip install safetensors numpy
    npm run megatron -- pretrain … --save D          (any checkpoint will do)
    python3 bench/peers/safetensors_check.py D/iter_0000100 [round-trip.safetensors]

Prints one line of JSON: files, tensors, bytes, and a SHA-256 of all slices' bytes in order of name. With a second path,
the tensors of the first shard whose types numpy knows are written anew by PyPI's own writer, for ours to read back. Exits 1 at the first difference.
"""

import hashlib
import json
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import deserialize, save_file

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
slices = {}
for tensor in manifest["tensors"]:
    for part in tensor["slices"]:
        slices[(part["file"], part["key"])] = (tensor["dtype"], part["shape"])

total = 0
found = {}
for record in manifest["files"]:
    path = folder / record["name"]
    content = path.read_bytes()
    if len(content) != record["bytes"] or hashlib.sha256(content).hexdigest() != record["sha256"]:
        sys.exit(f"{path}: size or SHA-256 differs from the manifest")
    if record["content"] != "tensors":
        continue
    # `deserialize` gives dtype, shape and raw bytes of every type, also of those that numpy does not know (BF16).
    for key, tensor in deserialize(content):
        wanted = slices.pop((record["name"], key), None)
        if wanted is None or (tensor["dtype"], list(tensor["shape"])) != (wanted[0], wanted[1]):
            sys.exit(f"{path}: {key} is {tensor['dtype']} {tensor['shape']}, the manifest says {wanted}")
        found[f"{record['name']}/{key}"] = bytes(tensor["data"])
        total += len(tensor["data"])
    with safe_open(path, framework="numpy") as file:
        if file.metadata() is None or file.metadata().get("writer") != "megatron-ts":
            sys.exit(f"{path}: the metadata is missing")
        for key in file.keys():
            if file.get_slice(key).get_dtype() == "F32" and file.get_tensor(key).tobytes() != found[f"{record['name']}/{key}"]:
                sys.exit(f"{path}: {key} reads differently through safe_open")
if slices:
    sys.exit(f"not in any file: {sorted(slices)}")

if len(sys.argv) > 2:
    first = next(record["name"] for record in manifest["files"] if record["content"] == "tensors")
    with safe_open(folder / first, framework="numpy") as file:
        known = [key for key in file.keys() if file.get_slice(key).get_dtype() not in ("BF16", "F8_E4M3", "F8_E5M2")]
        save_file({key: file.get_tensor(key) for key in known}, sys.argv[2], metadata={"writer": "PyPI"})

digest = hashlib.sha256()
for key in sorted(found):
    digest.update(found[key])
print(json.dumps({"files": len(manifest["files"]), "tensors": len(found), "bytes": total, "sha256": digest.hexdigest()}))
