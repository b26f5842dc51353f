"""Hostile cases of adaptations: (name, edit, file that the error names, its message)."""

import json

from tests.support.folder_edits import (
    ADAPTER,
    NESTED,
    SLOW_PATTERN,
    TENSORS,
    all_of,
    edit_parts,
    set_fields,
    set_metadata,
    write,
)
from tests.support.hostile_folders import integer_cases, json_cases, pairs, safetensors_cases

NOT_NAMES = SLOW_PATTERN, "(", "a{99999}", ["a"] * 5000, [1], 3, True, {"a": 1}
NOT_MODULES = 3, True, {"a": 1}, [1], "c_fc"


def adaptation_cases(peft_type):
    for name, edit, message in json_cases(ADAPTER):
        yield f"config: {name}", edit, ADAPTER, message
    for name, edit, message in safetensors_cases(TENSORS):
        yield f"tensors: {name}", edit, TENSORS, message
    for value in ("VERA", "MINIPEFT_NONE", "MINIPEFT_ENCODED", "lora", ["LORA"], True, 3, {}, None):
        edit = set_fields(ADAPTER, peft_type=value)
        yield f"peft_type {value}", edit, ADAPTER, "peft_type|the field method is missing"
    length, cases = KINDS[peft_type]
    for name, edit, message in integer_cases(ADAPTER, length) if length else ():
        yield name, edit, "", message
    yield from cases()
    nested = '{"peft_type": "MINIPEFT_ENCODED", "method":' * 300 + "1" + "}" * 300
    message = "must hold|deep|recursion"
    yield "methods in methods", write(ADAPTER, nested.encode()), ADAPTER, message
    for field in ("minipeft", "base"):
        for text in ("{", "[]", NESTED[:-3], '{"a": 1, "a": 2}', "1" * 5000):
            edit = set_metadata(**{field: text})
            yield f"metadata {field} {text:.9}", edit, TENSORS, "JSON|twice"
    other_base = set_metadata(base='{"width": 64}')
    yield "another base", other_base, TENSORS, "another base model: width=64"


def field_cases(values):
    """Values that a field of the configuration can't have; the message names the field."""
    for field, value in pairs(values):
        edit = set_fields(ADAPTER, **{field: value})
        yield f"{field} {value!r:.9}", edit, ADAPTER, f"{field}="


def module_cases(*fields):
    """Values of target_modules, of these other fields of names, and of modules_to_save."""
    yield from field_cases(dict.fromkeys(("target_modules", "exclude_modules", *fields), NOT_NAMES))
    for value in NOT_MODULES:
        edit = set_fields(ADAPTER, modules_to_save=value)
        yield f"modules_to_save {value}", edit, "", "modules_to_save="
    for value in ([], ["nothing"], None):
        edit = set_fields(ADAPTER, target_modules=value)
        yield f"target_modules {value}", edit, ADAPTER, "no layer matches"


def lora_cases():
    many = "transformer.h.0.attn.c_attn|" * 10**4
    slow = (SLOW_PATTERN, "(", "(" * 5000, "a{99999}", "a{9999999999999}", many, "[[:a:]]")
    names = (*slow, ["a"] * 5000, [1], [["a"]], 3, True, {"a": 1})
    layers = ("x", {}, [[0]], [True], 1.5, True, ["0"], 10**9, [10**9], [-1])
    values = dict.fromkeys(("target_modules", "exclude_modules"), names)
    values |= {
        "layers_to_transform": layers,
        "lora_alpha": (True, "1", [], "<NaN>", "<1e999>", 10**400, 1e39),
        "use_rslora": (1, "true", []),
        "rank_pattern": ({SLOW_PATTERN: 2}, {"(": 2}, {"a{99999}": 2}),
        "alpha_pattern": ({SLOW_PATTERN: 2}, {"(": 2}, {"a{99999}": 2}),
    }
    yield from field_cases(values)
    for value in NOT_MODULES:
        edit = set_fields(ADAPTER, modules_to_save=value)
        yield f"modules_to_save {value}", edit, "", "modules_to_save="
    for value in (True, "1", -0.5, 1.5, "<NaN>"):
        yield f"dropout {value}", set_fields(ADAPTER, lora_dropout=value), ADAPTER, "dropout="
    for field in ("rank_pattern", "alpha_pattern"):
        for value in (True, "2", [2], {}, "<NaN>", "<1e999>"):
            edit = in_pattern(field, value)
            yield f"{field} of {value}", edit, ADAPTER, r"\.\*=.* must be a"
        a_list = set_fields(ADAPTER, **{field: [3]})
        yield f"{field} as a list", a_list, ADAPTER, "must hold a JSON object"
    record = {"peft_type": "MINIPEFT_LORA", "rank": 2, "alpha": 3, "targets": SLOW_PATTERN}
    yield "targets in the metadata", set_metadata(minipeft=json.dumps(record)), "", "targets="


def in_pattern(field, value):
    return set_fields(ADAPTER, **{field: {".*": value}})


def ia3_cases():
    yield from module_cases("feedforward_modules")
    for value in (["mlp.c_proj", "attn.c_attn"], [], None):
        edit = set_fields(ADAPTER, feedforward_modules=value)
        yield f"feedforward_modules {value}", edit, TENSORS, "ia3_l has shape"
    norms = set_fields(ADAPTER, target_modules=["ln_1"], feedforward_modules=[])
    yield "targets that are norms", norms, ADAPTER, "no matrix"


def prompt_cases():
    def lengthen(header, data, name):
        name = "prompt_embeddings"
        rows, columns = header[name]["shape"]
        raw = bytes(4 * 32 * columns)
        entry = {"dtype": "F32", "shape": [32, columns], "data_offsets": [0, len(raw)]}
        return {name: entry}, raw

    edit = all_of(edit_parts(TENSORS, lengthen), set_fields(ADAPTER, num_virtual_tokens=32))
    yield "as long as the model", edit, ADAPTER, "num_virtual_tokens=32"
    sizes = dict.fromkeys(("token_dim", "num_layers", "num_attention_heads"), (64, True, "8"))
    yield from field_cases(sizes)


def target_cases():
    for value in (SLOW_PATTERN, "(", "a{99999}", 3, ["a"], "^nothing$"):
        edit = set_fields(ADAPTER, targets=value)
        yield f"targets {value}", edit, ADAPTER, "targets=|no layer matches"


def chain_cases():
    for value in ([1], [[]], {}, "x", [{}]):
        edit = set_fields(ADAPTER, methods=value)
        yield f"methods {value}", edit, ADAPTER, "method|peft_type|JSON obj"
    for value in ([], [{"peft_type": "MINIPEFT_CHAIN"}]):
        yield f"methods {value}", set_fields(ADAPTER, methods=value), TENSORS, "unexpected tensors"


KINDS = {  # peft_type: (its field that is a length, its other cases)
    "LORA": ("r", lora_cases),
    "PROMPT_TUNING": ("num_virtual_tokens", prompt_cases),
    "PREFIX_TUNING": ("num_virtual_tokens", prompt_cases),
    "P_TUNING": ("num_virtual_tokens", prompt_cases),
    "MULTITASK_PROMPT_TUNING": ("num_virtual_tokens", prompt_cases),
    "IA3": (None, ia3_cases),
    "LN_TUNING": (None, module_cases),
    "MINIPEFT_LORA": ("rank", target_cases),
    "MINIPEFT_PROMPTTUNING": ("length", target_cases),
    "MINIPEFT_PREFIXTUNING": ("length", target_cases),
    "MINIPEFT_ADAPTER": ("bottleneck", target_cases),
    "MINIPEFT_CHAIN": (None, chain_cases),
}
