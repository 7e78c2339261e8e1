"""What the scripts that make golden figures share: numbers by key, and float32 numbers as base64."""

import base64
import json
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "torch"


def uniform_words(key: int, count: int) -> np.ndarray:
    """uint32 words; the twin of `word` in test/support/numbers.ts."""
    index = np.arange(count, dtype=np.uint64)
    x = ((index * 0x9E3779B1 + key * 0x85EBCA77) & 0xFFFFFFFF).astype(np.uint32)
    x = (x ^ (x >> 17)) * np.uint32(0xED5AD4BB)
    x = (x ^ (x >> 11)) * np.uint32(0xAC4C1B51)
    x = (x ^ (x >> 15)) * np.uint32(0x31848BAB)
    return x ^ (x >> 14)


def numbers(shape, key: int, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """float32 numbers uniform in offset ± scale; the twin of `numbers` in test/support/numbers.ts."""
    words = uniform_words(key, int(np.prod(shape, dtype=np.int64))).astype(np.float64)
    return (offset + scale * (words / 2**31 - 1)).astype(np.float32).reshape(shape)


def integers(count: int, key: int, below: int) -> np.ndarray:
    return (uniform_words(key, count) % below).astype(np.int64)


def encode(values) -> str:
    """Little-endian float32, base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def write(name: str, content: dict) -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    path = FIXTURES / name
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")
