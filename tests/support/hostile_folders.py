"""Hostile cases of models and tokenizers: (name, edit, file that the error names, its message)."""

import json
import os

import numpy as np

from minipeft.hf.models.bert import FIELDS as BERT
from minipeft.hf.models.gpt2 import FIELDS as GPT2
from minipeft.hf.models.llama import FIELDS as LLAMA
from tests.support.folder_edits import (
    CONFIG,
    INDEX,
    MODEL,
    NESTED,
    all_of,
    edit_parts,
    edit_text,
    file_elsewhere,
    remove,
    replace_by,
    set_entry,
    set_fields,
    shard,
    truncate,
    write,
    write_bomb,
)

FIELDS = {"gpt2": GPT2, "bert": BERT} | dict.fromkeys(("llama", "qwen2", "mistral"), LLAMA)
INVALID = "is not a valid safetensors file"


# -- one file: (name, edit, message)


def file_cases(file):
    yield "missing", remove(file), "no such file"
    yield "a folder", replace_by(file, os.mkdir), "is not a regular file"
    yield "a pipe", replace_by(file, os.mkfifo), "is not a regular file"
    link_to = lambda target: replace_by(file, lambda path: path.symlink_to(target(path)))
    yield "a device", link_to(lambda path: "/dev/zero"), "out of its folder"
    yield "a link to itself", link_to(lambda path: path), "is not a regular file"
    yield "a link out", link_to(file_elsewhere), "out of its folder"
    relative = lambda path: os.path.relpath(file_elsewhere(path), path.parent)
    yield "a relative link out", link_to(relative), "out of its folder"


def json_cases(file):
    yield from file_cases(file)
    yield "empty", write(file, b""), "is not JSON"
    yield "Python", write(file, b"{'a': 1}"), "is not JSON"
    yield "not UTF-8", write(file, b"\xff\xfe{}"), "is not JSON"
    yield "a pickle", write_bomb(file), "is not JSON"
    yield "a list", write(file, b"[1]"), "must hold a JSON object"
    yield "a number", write(file, b"1e999"), "must hold a JSON object"
    yield "many digits", write(file, b"1" * 5000), "must hold a JSON object"
    yield "deep", write(file, b"[" * 10**5), "is not JSON"
    twice = lambda text: '{"a": 1, "a": 2, ' + text[1:]
    yield "a field twice", edit_text(file, twice), "'a' twice"
    twice_inside = lambda text: '{"z": [{"a": 1, "a": 2}],' + text[1:]
    yield "a field twice in a list", edit_text(file, twice_inside), "twice"
    yield "too large", edit_text(file, lambda text: text + " " * 2**22), "bytes; at most"


def integer_cases(file, field):
    """Values of a field that must be a positive integer."""
    for value in (True, "8", 8.5, -8, 0, 10**30, [8], {}, f"<{NESTED}>", "<NaN>", "<1e999>"):
        edit = set_fields(file, **{field: value})
        yield f"{field} {value!r:.9}", edit, f"{field}=.* must be a positive int"
    digits = set_fields(file, **{field: f"<{'1' * 5000}>"})
    yield f"{field} of many digits", digits, f"{field}=inf must be"
    message = f"must have|missing|larger|beyond|{field}=1000"
    yield f"{field} 10¹²", set_fields(file, **{field: 10**12}), message


def safetensors_cases(file):
    yield from file_cases(file)
    yield from pickle_cases(file)
    yield from size_cases(file)
    yield from header_cases(file)
    yield from entry_cases(file)
    for number in (np.nan, np.inf, -np.inf):
        last = np.float32(number).tobytes()
        edit = edit_parts(file, lambda h, data, name, last=last: (h, data[:-4] + last))
        yield f"holds {number}", edit, "holds NaN or infinity"


def pickle_cases(file):
    yield "a pickle", write_bomb(file), INVALID
    as_pytorch = file.replace(".safetensors", ".bin")
    yield "a pickle beside", all_of(remove(file), write_bomb(as_pytorch)), "never opened"
    yield "another pickle beside", all_of(remove(file), write_bomb("weights.pt")), "never opened"


def size_cases(file):
    yield "empty", write(file, b""), INVALID
    yield "three bytes", write(file, b"abc"), INVALID
    yield "truncated", truncate(file, 3), INVALID
    append = lambda folder: write(file, (folder / file).read_bytes() + bytes(8))(folder)
    yield "longer", append, INVALID
    yield "sparse", lambda folder: os.truncate(folder / file, 2**40), INVALID
    for length in (0, 1000, 2**22 + 1, 2**63, 2**64 - 1):
        start = length.to_bytes(8, "little")
        yield f"a header of {length}", write(file, start + b"{}" + bytes(99)), INVALID


def header_cases(file):
    not_json = edit_parts(file, lambda h, data, name: ("{]", data))
    yield "a header that is not JSON", not_json, "header of .* is not JSON"
    a_list = edit_parts(file, lambda h, data, name: ("[1]", data))
    yield "a header that is a list", a_list, "must hold a JSON object"
    deep = edit_parts(file, lambda h, data, name: (NESTED, data))
    yield "a deep header", deep, "'a' is not valid"
    twice = lambda h, data, name: (f'{{"{name}": 1,' + json.dumps(h)[1:], data)
    yield "a name twice", edit_parts(file, twice), "twice in one object"
    long = lambda h, data, name: (json.dumps(h) + " " * 2**22, data)
    yield "a long header", edit_parts(file, long), INVALID
    numbers = lambda h, data, name: (h | {"__metadata__": {"a": 1}}, data)
    yield "metadata of numbers", edit_parts(file, numbers), "__metadata__ must hold strings"
    renamed = lambda h, data, name: ({"x" if n == name else n: e for n, e in h.items()}, data)
    yield "a renamed tensor", edit_parts(file, renamed), "is missing|unexpected tensors, x"
    yield "a tensor more", edit_parts(file, with_tensor("zz")), "unexpected tensors, zz"
    control = edit_parts(file, with_tensor("a\x1b[2J"))
    yield "a name that does not print", control, r"'a\\x1b\[2J' is not valid"


def entry_cases(file):
    overlap = lambda h, data, name: (h | {"zz": h[name]}, data)
    yield "overlapping", edit_parts(file, overlap), "begins at byte"
    empty = {"shape": [0], "data_offsets": [2**20] * 2}
    gap = lambda h, data, name: (h | {"zz": h[name] | empty}, data)
    yield "a gap", edit_parts(file, gap), "zz begins at byte"
    invalid = "is not valid"
    for end in ([0, 2**62], [8, 4], [-4, 0], ["0", "4"], [0.0, 4.0], [False, 4], [0], 4, None):
        yield f"offsets {end}", set_entry(file, data_offsets=end), invalid
    for shape in ([7], [-1, -1], [2**32, 2**32], [0, 2**80], [True], ["3"], "3", [[3]], [1] * 99):
        yield f"shape {shape!r:.20}", set_entry(file, shape=shape), invalid
    for shape in ([-1, -1], [True], [1] * 9):
        edit = edit_parts(file, with_tensor("zz", shape=shape))
        yield f"a tensor more of {shape}", edit, "'zz' is not valid"
    for dtype in ("F64", "F99", "f4", 4, [], None):
        yield f"type {dtype}", set_entry(file, dtype=dtype), invalid
    for dtype in ("I32", "U32"):
        yield f"type {dtype}", set_entry(file, dtype=dtype), f"is {dtype}, not one of"


def with_tensor(key, **fields):
    """Return a change that adds a tensor of one number at the end."""

    def change(header, data, name):
        entry = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        return header | {key: entry | fields}, data + bytes(4)

    return change


# -- models and tokenizers


def model_cases(family):
    hf_name = {ours: name for ours, (name, *_) in FIELDS[family.split()[0]].items()}
    for name, edit, message in json_cases(CONFIG):
        yield f"config: {name}", edit, CONFIG, message
    for name, edit, message in safetensors_cases(MODEL):
        yield f"tensors: {name}", edit, MODEL, message
    for ours in ("vocabulary", "width", "layers", "heads"):
        for name, edit, message in integer_cases(CONFIG, hf_name[ours]):
            yield name, edit, "", message + "|multiple of heads"
    values = {
        hf_name["eps"]: (True, "1", "<NaN>", "<1e999>", 10**400, [], 1e39, -1e-5, 0),
        "architectures": ("x", 3, True, {}, [[1]], [{}]),
        "model_type": ("opt", ["gpt2"], True, {}, 3),
    }
    for field, value in pairs(values):
        message = "eps" if "eps" in field else f"{field}="
        yield f"{field} {value!r:.9}", set_fields(CONFIG, **{field: value}), CONFIG, message
    heads = set_fields(CONFIG, **{hf_name["heads"]: 3})
    yield "heads", heads, CONFIG, "multiple of heads"
    deep = lambda h, data, name: ({n.replace(".1.", ".99999."): h[n] for n in h}, data)
    many = all_of(edit_parts(MODEL, deep), set_fields(CONFIG, **{hf_name["layers"]: 10**5}))
    yield "the first and the last of many layers", many, MODEL, "99998.* is missing"
    three = lambda h, data, name: ({n: h[n] for n in [*h][:3]}, data)
    yield "most is missing", edit_parts(MODEL, three), MODEL, f"{INVALID}|begins at byte"
    alias = lambda h, data, name: with_tensor(name.split(".", 1)[1])(h, data, name)
    yield "a tensor by two names", edit_parts(MODEL, alias), MODEL, "are both|unexpected tensors"
    yield from index_cases()
    if family == "gpt2":
        yield from generation_cases()


def generation_cases():
    file = "generation_config.json"
    for name, edit, message in json_cases(file):
        if name != "missing":
            yield f"{file}: {name}", all_of(write(file, b'{"b": 1}'), edit), file, message
    for value in (True, "8", 8.5, [[8]], {}, f"<{NESTED}>", "<NaN>", "<1e999>"):
        edit = all_of(write(file, b"{}"), set_fields(file, eos_token_id=value))
        yield f"{file}: ends at {value!r:.9}", edit, file, "eos_token_id=.* must be a token id"


def pairs(values):
    """Yield (field, value) of {field: values}."""
    for field, possible in values.items():
        for value in possible:
            yield field, value


def index_cases():
    one, two = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    set_map = lambda change: shard(lambda index: {"weight_map": change(index["weight_map"])})
    yield "a shard is missing", all_of(shard(), remove(two)), two, "no such file"
    for value in ([], [[1]], "x", 3, True):
        edit = set_map(lambda names, value=value: value)
        yield f"map {value}", edit, INDEX, "weight_map|missing"
    yield "no map", shard(lambda index: {}), INDEX, "missing"
    yield "an index that is a list", shard(lambda index: [index]), INDEX, "must hold a JSON object"
    for file in ("../x.safetensors", "/tmp/x.safetensors", "a/b.safetensors", "x.bin", 3, None, ""):
        edit = set_map(lambda names, file=file: names | {min(names): file})
        yield f"a shard called {file}", edit, INDEX, "weight_map puts"
    null = set_map(lambda names: names | {min(names): "a\0.safetensors"})
    yield "a null in a name", null, INDEX, "weight_map"
    other = set_map(lambda names: names | {min(names): two})
    yield "in the other shard", other, "", "has a '|has no '"
    yield "in no shard", set_map(lambda names: names | {"zz": one}), one, "has no 'zz'"
    fewer = set_map(lambda names: {name: names[name] for name in names if name != min(names)})
    yield "not in the map", fewer, one, "has a "
    longer = all_of(shard(), edit_parts(two, lambda h, data, name: (h, data + bytes(4))))
    yield "a longer shard", longer, two, INVALID
    link = replace_by(two, lambda path: path.symlink_to(file_elsewhere(path)))
    yield "a shard that is a link out", all_of(shard(), link), two, "out of its folder"
    yield "a shard that is a pickle", all_of(shard(), write_bomb(two)), two, INVALID


def tokenizer_cases():
    file = "tokenizer.json"
    for name, edit, message in file_cases(file):
        yield name, edit, file, message
    for content in (b"", b"{}", b"[1]", b"\xff", b"[" * 10**5, NESTED.encode()):
        yield f"{content!r:.20}", write(file, content), file, "is not a tokenizer"
    yield "a pickle", write_bomb(file), file, "is not a tokenizer"
    sparse = lambda folder: os.truncate(folder / file, 2**40)
    yield "sparse", sparse, file, "bytes; at most"
    yield "no model", set_fields(file, model=None), file, "is not a tokenizer"
    other = "tokenizer_config.json"
    for name, edit, message in json_cases(other):
        if name not in ("missing", "too large"):
            yield f"{other}: {name}", edit, other, message
    for value in (True, 8, [], ["a"], {"content": 8}, f"<{NESTED}>", "<NaN>"):
        edit = set_fields(other, eos_token=value)
        yield f"{other}: ends at {value!r:.9}", edit, other, "eos_token=.* must be a text"
