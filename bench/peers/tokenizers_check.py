"""Holds our tokenizer.json and our encoder to Hugging Face's own library: same file, same text, same ids.

    python3 -m pip install tokenizers
    python3 bench/peers/tokenizers_check.py --tokenizer out/tokenizer.json --text a.txt --text b.txt

Our ids come from this repository's encoder, run by Node (`npm ci` must have been run); or, with --ids, from a file written
before: a JSON array (.json), one JSON array a line for one text a line (.ndjson), or raw little-endian int32 (anything else).
Prints one JSON line a text and exits with 1 where an id differs.
"""

import argparse
import array
import json
import pathlib
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# Reads a path from argv, writes the ids as int32 and prints the seconds that encoding took.
ENCODE = """
import { readFileSync, writeFileSync } from 'node:fs';
const [repository, tokenizerModel, textPath, idsPath] = process.argv.slice(1);
const { createTokenizer } = await import(repository + '/src/data/tokenizers/create-tokenizer.ts');
const tokenizer = createTokenizer({ type: 'HuggingFaceTokenizer', tokenizerModel });
const text = readFileSync(textPath, 'utf8');
const begin = performance.now();
const ids = tokenizer.encode(text);
const seconds = (performance.now() - begin) / 1000;
writeFileSync(idsPath, ids);
console.log(JSON.stringify({ seconds, roundTrip: tokenizer.decode(ids) === text }));
"""


def our_ids(tokenizer_path, text_path):
    """Ids of a whole file by our encoder, and what it says of itself."""
    node = REPOSITORY / "node_modules" / ".bin" / "node"
    with tempfile.TemporaryDirectory() as folder:
        ids_path = pathlib.Path(folder) / "ids.i32"
        command = [str(node), "--input-type=module", "-e", ENCODE, str(REPOSITORY), str(tokenizer_path), str(text_path), str(ids_path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return read_int32(ids_path), json.loads(done.stdout)


def read_int32(path):
    ids = array.array("i")
    ids.frombytes(pathlib.Path(path).read_bytes())
    if sys.byteorder == "big":
        ids.byteswap()
    return list(ids)


def read_ids(path):
    """Ids from a file: one list, or (for .ndjson) one list a line."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf8"))
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line]
    return read_int32(path)


def first_difference(tokenizer, ours, theirs):
    """Where two lists of ids part, in words; None where they are equal."""
    if ours == theirs:
        return None
    at = next((index for index, (one, other) in enumerate(zip(ours, theirs)) if one != other), min(len(ours), len(theirs)))
    show = lambda ids: [tokenizer.id_to_token(token) for token in ids[max(0, at - 3):at + 4]]
    return {"at": at, "ours": show(ours), "theirs": show(theirs), "lengths": [len(ours), len(theirs)]}


def check(tokenizer, tokenizer_path, text_path, ids_path):
    # No translation of line ends: our readers do none either.
    with open(text_path, encoding="utf8", newline="") as file:
        text = file.read()
    ours, said = (read_ids(ids_path), {}) if ids_path else our_ids(tokenizer_path, text_path)
    by_line = ids_path is not None and ids_path.suffix == ".ndjson"
    begin = time.perf_counter()
    if by_line:
        theirs = [encoding.ids for encoding in tokenizer.encode_batch(text.splitlines(), add_special_tokens=False)]
    else:
        theirs = tokenizer.encode(text, add_special_tokens=False).ids
    seconds = time.perf_counter() - begin
    if by_line:
        pairs = zip(ours, theirs) if len(ours) == len(theirs) else [([], [0])]
        difference = next((found for found in (first_difference(tokenizer, *pair) for pair in pairs) if found), None)
    else:
        difference = first_difference(tokenizer, ours, theirs)
    megabytes = len(text.encode("utf8")) / 1e6
    report = {
        "text": str(text_path),
        "megabytes": round(megabytes, 2),
        "tokens": sum(map(len, theirs)) if by_line else len(theirs),
        "equal": difference is None,
        "theirsMBPerSecond": round(megabytes / seconds, 1),
    }
    if "seconds" in said:
        report["oursMBPerSecond"] = round(megabytes / said["seconds"], 1)
        report["roundTrip"] = said["roundTrip"]
    if difference is not None:
        report["difference"] = difference
    print(json.dumps(report, ensure_ascii=False))
    return difference is None and said.get("roundTrip", True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True, type=pathlib.Path, help="our tokenizer.json")
    parser.add_argument("--text", required=True, type=pathlib.Path, action="append", help="UTF-8 text (may be given several times)")
    parser.add_argument("--ids", type=pathlib.Path, action="append", help="our ids of each --text, instead of running our encoder")
    arguments = parser.parse_args()
    if arguments.ids and len(arguments.ids) != len(arguments.text):
        parser.error("give one --ids for every --text")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit("The Python package 'tokenizers' is missing: python3 -m pip install tokenizers")

    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    # A special token written in a text is ordinary text to us.
    tokenizer.encode_special_tokens = True
    all_ids = arguments.ids or [None] * len(arguments.text)
    results = [check(tokenizer, arguments.tokenizer.resolve(), text.resolve(), ids) for text, ids in zip(arguments.text, all_ids)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
