"""Every way to spoil a valid folder that is tried: what is done, and what the error says."""

import json
import os

import numpy as np

from minipeft.hf.models.bert import FIELDS as BERT
from minipeft.hf.models.gpt2 import FIELDS as GPT2
from minipeft.hf.models.llama import FIELDS as LLAMA
from tests.support.spoil import (
    ADAPTER,
    ADDED,
    CONFIG,
    EXPLODES,
    INDEX,
    MODEL,
    NESTED,
    about,
    bomb,
    both,
    edited,
    headed,
    instead,
    outside,
    put,
    recorded,
    sharded,
    told,
)

FIELDS = {"gpt2": GPT2, "bert": BERT} | dict.fromkeys(("llama", "qwen2", "mistral"), LLAMA)


def files_of(file):
    """What can be wrong with any file."""
    yield "none", lambda folder: (folder / file).unlink(), "no such file"
    yield "a folder", instead(file, os.mkdir), "is no file"
    yield "a pipe", instead(file, os.mkfifo), "is no file"
    yield "a device", instead(file, lambda path: path.symlink_to("/dev/zero")), "out of its folder"
    yield "itself", instead(file, lambda path: path.symlink_to(path)), "is no file"
    yield "a link out", instead(file, lambda path: path.symlink_to(outside(path))), "out of its"
    out = lambda path: path.symlink_to(os.path.relpath(outside(path), path.parent))
    yield "a relative link out", instead(file, out), "out of its folder"


def jsons(file):
    yield from files_of(file)
    yield "empty", put(file, b""), "is not JSON"
    yield "no JSON", put(file, b"{'a': 1}"), "is not JSON"
    yield "no text", put(file, b"\xff\xfe{}"), "is not JSON"
    yield "a pickle", bomb(file), "is not JSON"
    yield "a list", put(file, b"[1]"), "must hold a JSON object"
    yield "a number", put(file, b"1e999"), "must hold a JSON object"
    yield "many digits", put(file, b"1" * 5000), "must hold a JSON object"
    yield "deep", put(file, b"[" * 10**5), "is not JSON"
    yield "twice", edited(file, lambda text: '{"a": 1, "a": 2, ' + text[1:]), "'a' twice"
    yield "twice within", edited(file, lambda text: '{"z": [{"a": 1, "a": 2}],' + text[1:]), "twice"
    yield "large", edited(file, lambda text: text + " " * 2**22), "bytes; at most"


def lengths(file, field):
    """What a positive whole number can be instead."""
    for value in (True, "8", 8.5, -8, 0, 10**30, [8], {}, f"<{NESTED}>", "<NaN>", "<1e999>"):
        yield f"{field} {value!r:.9}", told(file, **{field: value}), f"{field}=.* must be a pos"
    yield f"{field} of digits", told(file, **{field: f"<{'1' * 5000}>"}), f"{field}=inf must be"
    beyond = f"must be \\(|missing|larger|beyond|{field}=1000"
    yield f"{field} 10¹²", told(file, **{field: 10**12}), beyond


def safetensors(file):
    yield from files_of(file)
    whole = "is no whole safetensors"
    yield "empty", put(file, b""), whole
    yield "three bytes", put(file, b"abc"), whole
    yield "a pickle", bomb(file), whole
    pickled = file.replace(".safetensors", ".bin")
    yield "a pickle beside", both(lambda folder: (folder / file).unlink(), bomb(pickled)), "never"
    other = both(lambda folder: (folder / file).unlink(), bomb("weights.pt"))
    yield "another pickle beside", other, "never opened"
    cut = lambda folder: os.truncate(folder / file, (folder / file).stat().st_size - 3)
    yield "truncated", cut, whole
    yield (
        "longer",
        lambda folder: (folder / file).write_bytes((folder / file).read_bytes() + bytes(8)),
        whole,
    )
    yield "sparse", lambda folder: os.truncate(folder / file, 2**40), whole
    for length in (0, 1000, 2**22 + 1, 2**63, 2**64 - 1):
        start = length.to_bytes(8, "little")
        yield f"a header of {length}", put(file, start + b"{}" + bytes(99)), whole
    yield "no header", headed(file, lambda h, data, name: ("{]", data)), "header of .* is not JSON"
    yield "a list", headed(file, lambda h, data, name: ("[1]", data)), "must hold a JSON object"
    yield "deep", headed(file, lambda h, data, name: (NESTED, data)), "'a' can't be"
    twice = lambda h, data, name: (f'{{"{name}": 1,' + json.dumps(h)[1:], data)
    yield "twice", headed(file, twice), "twice in one object"
    yield "overlapping", headed(file, lambda h, d, name: (h | {"zz": h[name]}, d)), "begins at byte"
    gap = lambda h, d, name: (h | {"zz": h[name] | dict(shape=[0], data_offsets=[2**20] * 2)}, d)
    yield "a gap", headed(file, gap), "zz begins at byte"
    for end in ([0, 2**62], [8, 4], [-4, 0], ["0", "4"], [0.0, 4.0], [False, 4], [0], 4, None):
        yield f"bytes {end}", about(file, data_offsets=end), "can't be"
    for shape in ([7], [-1, -1], [2**32, 2**32], [0, 2**80], [True], ["3"], "3", [[3]], [1] * 99):
        yield f"shape {shape!r:.20}", about(file, shape=shape), "can't be"
    for dtype in ("F64", "F99", "f4", 4, [], None):
        yield f"type {dtype}", about(file, dtype=dtype), "can't be"
    for dtype in ("I32", "U32"):
        yield f"type {dtype}", about(file, dtype=dtype), f"is {dtype}, not one of"
    for number in (np.nan, np.inf, -np.inf):
        bad = np.float32(number).tobytes()
        change = lambda h, data, name, bad=bad: (h, data[:-4] + bad)
        yield f"holds {number}", headed(file, change), "holds NaN or infinity"
    renamed = lambda h, data, name: ({"x" if n == name else n: a for n, a in h.items()}, data)
    yield "renamed", headed(file, renamed), "missing|no place for x"
    more = lambda h, data, name: (h | {"zz": place(data, 4)}, data + bytes(4))
    yield "left over", headed(file, more), "no place for zz"
    for shape in ([-1, -1], [True], [1] * 9):
        said = lambda data, shape=shape: place(data, 4) | {"shape": shape}
        one = lambda h, data, name, said=said: (h | {"zz": said(data)}, data + bytes(4))
        yield f"one of {shape}", headed(file, one), "'zz' can't be"
    wide = lambda h, data, name: (json.dumps(h) + " " * 2**22, data)
    yield "a wide header", headed(file, wide), whole
    odd = lambda h, data, name: (h | {"a\x1b[2J": place(data, 4)}, data + bytes(4))
    yield "a name that prints as none", headed(file, odd), r"'a\\x1b\[2J' can't be"
    yield (
        "metadata of numbers",
        headed(file, lambda h, d, n: (h | {"__metadata__": {"a": 1}}, d)),
        ("__metadata__ must hold texts"),
    )


def place(data, size):
    """About one more tensor at the end of the data."""
    return {"dtype": "F32", "shape": [size // 4], "data_offsets": [len(data), len(data) + size]}


def sparse(file):
    """A terabyte more, of which the disk holds nothing."""
    return lambda folder: os.truncate(folder / file, (folder / file).stat().st_size + 2**40)


def models(family):
    """(name, change, the file that is to blame, what is said of it)"""
    theirs = {ours: name for ours, (name, *_) in FIELDS[family.split()[0]].items()}
    for name, change, says in jsons(CONFIG):
        yield f"config: {name}", change, CONFIG, says
    for name, change, says in safetensors(MODEL):
        yield f"tensors: {name}", change, MODEL, says
    for ours in ("vocabulary", "width", "layers", "heads"):
        for name, change, says in lengths(CONFIG, theirs[ours]):
            yield name, change, "", says + "|multiple of heads"
    for value in (True, "1", "<NaN>", "<1e999>", 10**400, [], 1e39, -1e-5, 0):
        yield f"eps {value!r:.9}", told(CONFIG, **{theirs["eps"]: value}), CONFIG, "eps"
    for value in ("x", 3, True, {}, [[1]], [{}]):
        yield f"architectures {value}", told(CONFIG, architectures=value), CONFIG, "architectures="
    yield "heads", told(CONFIG, **{theirs["heads"]: 3}), CONFIG, "multiple of heads"
    for value in ("t5", ["gpt2"], True, {}, 3):
        yield f"model_type {value}", told(CONFIG, model_type=value), CONFIG, "model_type="
    deep = lambda h, data, name: ({n.replace(".1.", ".99999."): h[n] for n in h}, data)
    many = both(headed(MODEL, deep), told(CONFIG, **{theirs["layers"]: 10**5}))
    yield "the first and the last of many layers", many, MODEL, "99998.* is missing"
    last = lambda h, data, name: ({n: h[n] for n in [*h][:3]}, data)
    yield "most is missing", headed(MODEL, last), MODEL, "is no whole|begins at byte"
    alias = lambda h, d, n: (h | {n.split(".", 1)[1]: place(d, 4)}, d + bytes(4))
    yield "one name in two ways", headed(MODEL, alias), MODEL, "are both|no place for"
    yield from indexes()


def indexes():
    one, two = (f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    mapped = lambda change: sharded(lambda said: {"weight_map": change(said["weight_map"])})
    gone = both(sharded(), lambda folder: (folder / two).unlink())
    yield "a shard is missing", gone, two, "no such file"
    for value in ([], [[1]], "x", 3, True):
        yield (
            f"map {value}",
            sharded(lambda s, v=value: {"weight_map": v}),
            INDEX,
            "weight_map|miss",
        )
    yield "no map", sharded(lambda said: {}), INDEX, "missing"
    yield "an index that is a list", sharded(lambda said: [said]), INDEX, "must hold a JSON object"
    for file in ("../x.safetensors", "/tmp/x.safetensors", "a/b.safetensors", "x.bin", 3, None, ""):
        change = mapped(lambda said, file=file: said | {min(said): file})
        yield f"a shard called {file}", change, INDEX, "weight_map puts"
    yield "a null in a name", mapped(lambda s: s | {min(s): "a\0.safetensors"}), INDEX, "weight_map"
    yield "in the other shard", mapped(lambda s: s | {min(s): two}), "", "has a '|has no '"
    yield "in no shard", mapped(lambda s: s | {"zz": one}), one, "has no 'zz'"
    less = mapped(lambda s: {name: s[name] for name in s if name != min(s)})
    yield "not in the map", less, one, "has a "
    change = both(sharded(), headed(two, lambda h, data, name: (h, data + bytes(4))))
    yield "a longer shard", change, two, "is no whole safetensors"
    link = both(sharded(), instead(two, lambda path: path.symlink_to(outside(path))))
    yield "a shard that is a link out", link, two, "out of its folder"
    yield "a shard that is a pickle", both(sharded(), bomb(two)), two, "is no whole safetensors"


def adaptations(kind):
    for name, change, says in jsons(ADAPTER):
        yield f"config: {name}", change, ADAPTER, says
    for name, change, says in safetensors(ADDED):
        yield f"tensors: {name}", change, ADDED, says
    for value in ("VERA", "MINIPEFT_NONE", "MINIPEFT_ENCODED", "lora", ["LORA"], True, 3, {}, None):
        change = told(ADAPTER, peft_type=value)
        yield f"peft_type {value}", change, ADAPTER, "peft_type|must hold a JSON object"
    field, more = KINDS[kind]
    for name, change, says in lengths(ADAPTER, field) if field else ():
        yield name, change, "", says
    yield from more()
    nested = '{"peft_type": "MINIPEFT_ENCODED", "method":' * 300 + "1" + "}" * 300
    yield (
        "methods in methods",
        put(ADAPTER, nested.encode()),
        ADAPTER,
        "must be a dict|must hold|deep|recursion",
    )
    for field in ("minipeft", "base"):
        for text in ("{", "[]", NESTED[:-3], '{"a": 1, "a": 2}', "1" * 5000):
            says = "JSON|twice"
            yield f"recorded {field} {text:.9}", recorded(**{field: text}), ADDED, says
    yield "of another base", recorded(base='{"width": 64}'), ADDED, "another base: width=64"


def loras():
    many = "transformer.h.0.attn.c_attn|" * 10**4
    for field in ("target_modules", "exclude_modules"):
        for value in (EXPLODES, "(", "(" * 5000, "a{99999}", "a{9999999999999}", many, "[[:a:]]"):
            yield f"{field} {value:.9}", told(ADAPTER, **{field: value}), ADAPTER, f"{field}="
        for value in (["a"] * 5000, [1], [["a"]], 3, True, {"a": 1}):
            yield f"{field} {value!r:.9}", told(ADAPTER, **{field: value}), ADAPTER, f"{field}="
    for value in ("x", {}, [[0]], [True], 1.5, True, ["0"]):
        change = told(ADAPTER, layers_to_transform=value)
        yield f"layers_to_transform {value}", change, ADAPTER, "layers_to_transform="
    for value in (10**9, [10**9], [-1]):
        change = told(ADAPTER, layers_to_transform=value)
        yield f"layers_to_transform {value}", change, ADAPTER, "layers_to_transform="
    for value in (3, True, {"a": 1}, [1], "c_fc"):
        change = told(ADAPTER, modules_to_save=value)
        yield f"modules_to_save {value}", change, "", "modules_to_save="
    for field in ("rank_pattern", "alpha_pattern"):
        for key in (EXPLODES, "(", "a{99999}"):
            yield f"{field} {key}", told(ADAPTER, **{field: {key: 2}}), ADAPTER, f"{field}="
        for value in (True, "2", [2], {}, "<NaN>", "<1e999>"):
            change = told(ADAPTER, **{field: {".*": value}})
            yield f"{field} of {value}", change, ADAPTER, r"\.\*=.* must be a"
        yield (
            f"{field} as a list",
            told(ADAPTER, **{field: [3]}),
            ADAPTER,
            "must hold a JSON object",
        )
    for value in (True, "1", [], "<NaN>", "<1e999>", 10**400, 1e39):
        yield f"alpha {value!r:.9}", told(ADAPTER, lora_alpha=value), ADAPTER, "lora_alpha="
    for value in (True, "1", -0.5, 1.5, "<NaN>"):
        yield f"dropout {value}", told(ADAPTER, lora_dropout=value), ADAPTER, "dropout="
    for value in (1, "true", []):
        yield f"rslora {value}", told(ADAPTER, use_rslora=value), ADAPTER, "use_rslora="
    record = {"peft_type": "MINIPEFT_LORA", "rank": 2, "alpha": 3, "targets": EXPLODES}
    yield "recorded targets", recorded(minipeft=json.dumps(record)), "", "targets="


def modules(*fields):
    """What target_modules can't be, and other fields of such names."""
    for field in ("target_modules", "exclude_modules", *fields):
        for value in (EXPLODES, "(", "a{99999}", ["a"] * 5000, [1], 3, True, {"a": 1}):
            yield f"{field} {value!r:.9}", told(ADAPTER, **{field: value}), ADAPTER, f"{field}="
    for value in (3, True, {"a": 1}, [1], "c_fc"):
        change = told(ADAPTER, modules_to_save=value)
        yield f"modules_to_save {value}", change, "", "modules_to_save="
    for value in ([], ["nothing"], None):
        yield f"of {value}", told(ADAPTER, target_modules=value), ADAPTER, "no layer matches"


def ia3s():
    yield from modules("feedforward_modules")
    for value in (["mlp.c_proj", "attn.c_attn"], [], None):
        change = told(ADAPTER, feedforward_modules=value)
        yield f"inputs {value}", change, ADDED, "ia3_l is"
    norms = told(ADAPTER, target_modules=["ln_1"], feedforward_modules=[])
    yield "of norms", norms, ADAPTER, "has not a matrix"


def prompts():
    def longer(header, data, name):
        name = "prompt_embeddings"
        rows, columns = header[name]["shape"]
        raw, said = bytes(4 * 32 * columns), {"dtype": "F32", "shape": [32, columns]}
        return {name: said | {"data_offsets": [0, len(raw)]}}, raw

    change = both(headed(ADDED, longer), told(ADAPTER, num_virtual_tokens=32))
    yield "as long as the model", change, ADAPTER, "num_virtual_tokens=32"
    for field in ("token_dim", "num_layers", "num_attention_heads"):
        for value in (64, True, "8"):
            yield f"{field} {value}", told(ADAPTER, **{field: value}), ADAPTER, f"{field}="


def targets():
    for value in (EXPLODES, "(", "a{99999}", 3, ["a"], "^nothing$"):
        yield f"targets {value}", told(ADAPTER, targets=value), ADAPTER, "targets=|no layer matches"


def chains():
    for value in ([1], [[]], {}, "x", [{}]):
        yield f"methods {value}", told(ADAPTER, methods=value), ADAPTER, "method|peft_type|JSON obj"
    for value in ([], [{"peft_type": "MINIPEFT_CHAIN"}]):
        yield f"methods {value}", told(ADAPTER, methods=value), ADDED, "no place for"


KINDS = {  # peft_type: a field that is a length, and what else can be wrong
    "LORA": ("r", loras),
    "PROMPT_TUNING": ("num_virtual_tokens", prompts),
    "PREFIX_TUNING": ("num_virtual_tokens", prompts),
    "P_TUNING": ("num_virtual_tokens", prompts),
    "MULTITASK_PROMPT_TUNING": ("num_virtual_tokens", prompts),
    "IA3": (None, ia3s),
    "LN_TUNING": (None, modules),
    "MINIPEFT_LORA": ("rank", targets),
    "MINIPEFT_PROMPTTUNING": ("length", targets),
    "MINIPEFT_PREFIXTUNING": ("length", targets),
    "MINIPEFT_ADAPTER": ("bottleneck", targets),
    "MINIPEFT_CHAIN": (None, chains),
}


def tokenizers():
    file = "tokenizer.json"
    for name, change, says in files_of(file):
        yield name, change, file, says
    for content in (b"", b"{}", b"[1]", b"\xff", b"[" * 10**5, NESTED.encode()):
        yield f"{content!r:.20}", put(file, content), file, "is no tokenizer"
    yield "a pickle", bomb(file), file, "is no tokenizer"
    yield "sparse", lambda folder: os.truncate(folder / file, 2**40), file, "bytes; at most"
    yield "no model", told(file, model=None), file, "is no tokenizer"
