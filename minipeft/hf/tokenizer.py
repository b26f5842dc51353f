"""Tokenizers: tokenizer.json, and the other files that transformers' tokenizers read."""

import json
import os
from pathlib import Path

from tokenizers import Tokenizer

from ..storage.json import CheckpointError, parse_json, read_bytes, read_json, short_repr

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
BESIDE = (  # files that are written again as they were read
    CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
)
TOKENIZER_FILES = TOKENIZER, *BESIDE
NEW = {CONFIG: json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2).encode()}
MAX_BYTES = 2**27


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer in a folder, without truncation, padding and dropout.

    Its attributes `folder_files`, {name: bytes}, and `special_tokens`, {"eos_token": "</s>", …},
    have what the files beside tokenizer.json say.  Raises CheckpointError for a malformed file, and
    for a token whose id the model in the same folder does not have.
    """
    content = read_bytes(path := folder / TOKENIZER, MAX_BYTES)
    try:
        tokenizer = reset(Tokenizer.from_buffer(content))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{path} is not a tokenizer: {error}") from None
    check_vocabulary(tokenizer, folder)
    files = read_beside(folder)
    vars(tokenizer).update(folder_files=files, special_tokens=special_tokens(folder, files))
    return tokenizer


def reset(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer, changed to encode a whole text, without padding, always in one way.

    tokenizer.json keeps truncation, padding and BPE's dropout of the program that saved it last.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, folder: Path) -> None:
    """Raise CheckpointError for a token whose id the model in the folder, if any, does not have."""
    if not os.path.lexists(path := folder / "config.json"):
        return
    ids = tokenizer.get_vocab()
    for around in (tokenizer.encode(""), tokenizer.encode("", "")):  # added by a post-processor
        ids |= zip(around.tokens, around.ids)
    V, token = read_json(path).field("vocab_size", None, int), max(ids, key=ids.get, default=None)
    if V and token is not None and ids[token] >= V:
        raise CheckpointError(
            f"{folder / TOKENIZER}: the token {token!r:.200} has the id {ids[token]}, and the "
            f"model has the ids 0 to {V - 1} (vocab_size of config.json): remove the token, or use "
            "the model's own tokenizer"
        )


def read_beside(folder: Path) -> dict[str, bytes]:
    """Return {name: bytes} of the files of a tokenizer, without tokenizer.json."""
    names = (name for name in BESIDE if os.path.lexists(folder / name))
    return {name: read_bytes(folder / name, MAX_BYTES) for name in names}


def special_tokens(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Return {"bos_token": "<s>", "eos_token": "</s>"}, as far as the files name them."""
    found = {}
    for file in ("special_tokens_map.json", CONFIG):  # the second has the last word
        settings = parse_json(files.get(file, "{}"), folder / file)
        for name in ("bos_token", "eos_token"):
            token = settings.get(name)
            content = token.get("content", token) if isinstance(token, dict) else token
            if not isinstance(content, str | None):
                raise CheckpointError(f"{settings.path}: {name}={short_repr(token)} must be a text")
            found |= {name: content} if content else {}
    return found


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return {name: bytes} of the files that hold a tokenizer, as `read_tokenizer` reads them."""
    text = reset(Tokenizer.from_str(tokenizer.to_str())).to_str(pretty=True)
    return {TOKENIZER: text.encode()} | vars(tokenizer).get("folder_files", NEW)
