"""Breaking what is written beside the weights: configuration, tokenizer, template, metadata."""

import json
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aprqa_ci.selftest.transforms.place import NotApplicableError, one_file

__all__ = [
    "chat_template",
    "gguf_number",
    "json_value",
    "lost_bytes",
    "shuffle_merges",
    "special_token",
    "swap_tokens",
]

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_UINT32, _FLOAT32 = 4, 6


def json_value(
    directory: Path, *, file: str, keys: Sequence[str], value: object = None, absent: bool = False
) -> None:
    """Set a value at each of several keys of a document, or take the keys away.

    Raises:
        NotApplicableError: the document has none of the keys.
    """
    path = one_file(directory, file)
    content = _read(path)
    known = [key for key in keys if key in content]
    if not known:
        what = f"{file} says nothing of {', '.join(keys)}"
        raise NotApplicableError(what)
    for key in known:
        if absent:
            del content[key]
        else:
            content[key] = value
    _write(path, content)


def chat_template(directory: Path, *, text: str | None) -> None:
    """Give the model another chat template, or none."""
    path = one_file(directory, _SETTINGS)
    content = _read(path)
    content.pop("chat_template", None)
    if text is not None:
        content["chat_template"] = text
    _write(path, content)


def gguf_number(directory: Path, *, file: str, key: str, value: float) -> None:
    """Change one 32-bit number of a GGUF file's metadata, in place."""
    path = one_file(directory, file)
    data = bytearray(path.read_bytes())
    name = key.encode()
    at = data.find(struct.pack("<Q", len(name)) + name)
    if at < 0:
        what = f"{path.name} has no {key}"
        raise NotApplicableError(what)
    at += 8 + len(name)
    kind = struct.unpack_from("<I", data, at)[0]
    if kind not in {_UINT32, _FLOAT32}:
        what = f"{key} is no 32-bit number"
        raise NotApplicableError(what)
    struct.pack_into("<I" if kind == _UINT32 else "<f", data, at + 4, value)
    path.write_bytes(data)


def shuffle_merges(directory: Path, *, share: float, seed: int) -> None:
    """Put a share of the tokenizer's merges into another order."""
    path = one_file(directory, _TOKENIZER)
    content = _read(path)
    merges = content["model"]["merges"]
    drawn = random.Random(seed)  # noqa: S311 - must repeat
    places = sorted(drawn.sample(range(len(merges)), int(len(merges) * share)))
    shuffled = [merges[place] for place in places]
    drawn.shuffle(shuffled)
    for place, merge in zip(places, shuffled, strict=True):
        merges[place] = merge
    _write(path, content)


def swap_tokens(directory: Path, *, count: int, seed: int) -> None:
    """Exchange the numbers of drawn pairs of ordinary tokens."""
    path = one_file(directory, _TOKENIZER)
    content = _read(path)
    vocabulary = content["model"]["vocab"]
    special = {entry["content"] for entry in content.get("added_tokens", [])}
    ordinary = sorted(set(vocabulary) - special)
    drawn = random.Random(seed).sample(ordinary, 2 * count)  # noqa: S311 - must repeat
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    _write(path, content)


def special_token(directory: Path, *, token: str, special: bool | None = None) -> None:
    """Drop an added token, or say whether it is a special one."""
    path = one_file(directory, _TOKENIZER)
    content = _read(path)
    entries = content.get("added_tokens", [])
    if all(entry["content"] != token for entry in entries):
        what = f"the tokenizer has no special token {token}"
        raise NotApplicableError(what)
    if special is None:
        content["added_tokens"] = [entry for entry in entries if entry["content"] != token]
    else:
        for entry in entries:
            if entry["content"] == token:
                entry["special"] = special
    _write(path, content)


def lost_bytes(directory: Path, *, characters: str) -> None:
    """Take the tokens of single bytes away, each given as byte-level BPE writes it."""
    path = one_file(directory, _TOKENIZER)
    content = _read(path)
    vocabulary = content["model"]["vocab"]
    for character in characters:
        if character not in vocabulary:
            what = f"the tokenizer has no token {character!r}"
            raise NotApplicableError(what)
        vocabulary[f"[LOST{ord(character)}]"] = vocabulary.pop(character)
    content["model"]["merges"] = [
        merge for merge in content["model"]["merges"] if not set(characters) & set("".join(merge))
    ]
    _write(path, content)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
