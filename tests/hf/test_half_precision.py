"""Models and adaptations in float16 and bfloat16, and adaptations on copies of their base."""

import json

import numpy as np
import pytest
from safetensors import safe_open

import minipeft as mp
from minipeft.autograd.bfloat16 import from_bfloat16, to_bfloat16
from minipeft.autograd.nn import same_weights
from minipeft.commands.convert import Convert
from minipeft.hf import CheckpointError
from tests.support.families import BERT, GPT2, LLAMA, decoder, encoder, nudged
from tests.support.folder_edits import CONFIG, INDEX, MODEL, TENSORS, set_metadata

MODELS = {
    name: model.astype(np.float32)
    for name, model in {
        "gpt2": nudged(decoder(GPT2)),
        "llama": nudged(decoder(LLAMA)),
        "bert": nudged(encoder(BERT)),
    }.items()
}
HALVES = "float16", "bfloat16"
IDS = np.array([[1, 2, 3, 4]])


def random_adaptation(model):
    γ = mp.LoRA(2).attach(model, np.random.default_rng(0))
    for p in γ.parameters():
        p.data = np.random.default_rng(1).normal(size=p.shape).astype("f4")
    return γ


def rounded(x, dtype):
    """Return x rounded by its decimal value: 8 bits of bfloat16's mantissa, or 11 of float16's."""
    fraction, exponent = np.frexp(np.float64(x))
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)


# -- numbers


def test_bfloat16_is_rounded_to_the_nearest_and_of_two_to_the_even():
    ε = 2.0**-8  # half of the distance of numbers above 1
    x = [1 + ε, 1 + 3 * ε, 1 + ε + 2.0**-20, 1 + ε - 2.0**-20, -1 - ε, 0.0, 3.14159, 1e-40]
    want = [1, 1 + 4 * ε, 1 + 2 * ε, 1, -1, 0.0, 3.140625, 2.0**-133]
    np.testing.assert_allclose(from_bfloat16(to_bfloat16(x)), want, rtol=1e-4, atol=0)
    x = np.random.default_rng(0).normal(size=1000).astype("f4")
    assert np.array_equal(from_bfloat16(to_bfloat16(x)), rounded(x, "bfloat16"))
    assert from_bfloat16(to_bfloat16(np.float32(3.0))).shape == ()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_saved_in_half_precision(tmp_path, name, dtype):
    mp.save(MODELS[name], tmp_path / "m", dtype=dtype)
    with safe_open(tmp_path / "m" / MODEL, "np") as file:
        names = {file.get_slice(name).get_dtype() for name in file.keys()}
    assert names == {{"float16": "F16", "bfloat16": "BF16"}[dtype]}
    assert json.loads((tmp_path / "m" / CONFIG).read_text())["dtype"] == dtype
    again = mp.load(tmp_path / "m")
    assert again.dtype == np.float32
    pairs = zip(again.parameters(), MODELS[name].parameters(), strict=True)
    assert all(np.array_equal(p.data, rounded(q.data, dtype)) for p, q in pairs)


@pytest.mark.parametrize("dtype", HALVES)
def test_an_adaptation_is_saved_in_half_precision(tmp_path, dtype):
    γ = random_adaptation(MODELS["llama"])
    mp.save(γ, tmp_path / "a", dtype=dtype)
    again = mp.load_adaptation(tmp_path / "a", MODELS["llama"])
    for p, q in zip(again.parameters(), γ.parameters(), strict=True):
        assert np.array_equal(p.data, rounded(q.data, dtype))


@pytest.mark.parametrize("dtype, size", [("float16", 65520), ("bfloat16", 3.4e38)])
def test_numbers_that_become_infinite_are_not_saved(tmp_path, dtype, size):
    γ = random_adaptation(MODELS["gpt2"])
    γ.parameters()[0].data[0, 0] = size
    with pytest.raises(CheckpointError, match=f"holds NaN or infinity as {dtype}"):
        mp.save(γ, tmp_path / "a", dtype=dtype)
    assert not (tmp_path / "a").exists()
    mp.save(γ, tmp_path / "a")


def test_another_type_is_refused(tmp_path):
    for dtype in ("float8", "int8", "bf16"):
        says = f"dtype={dtype} must be float16, bfloat16, float32 or float64"
        with pytest.raises(CheckpointError, match=says):
            mp.save(MODELS["gpt2"], tmp_path / "m", dtype=dtype)


# -- copies of a base


def load_copy(model, folder, dtype, sharded=False):
    """Return a copy of the model that was saved as dtype, in two files if `sharded`."""
    mp.save(model, folder, dtype=dtype)
    if sharded:
        with safe_open(folder / MODEL, "np") as file:
            names = [*file.keys()]
        content, half = (folder / MODEL).read_bytes(), len(names) // 2
        shards = {"a.safetensors": names[:half], "b.safetensors": names[half:]}
        for file, part in shards.items():
            (folder / file).write_bytes(subset(content, part))
        weight_map = {name: file for file, part in shards.items() for name in part}
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
        (folder / MODEL).unlink()
    return mp.load(folder)


def subset(content, names):
    """Return a safetensors file with some of the tensors of another."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, data, offset = json.loads(content[8:start]), [], 0
    for name in names:
        begin, end = header[name]["data_offsets"]
        data.append(content[start + begin : start + end])
        header[name]["data_offsets"] = [offset, offset := offset + end - begin]
    text = json.dumps({name: header[name] for name in names}).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data)


@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "sharded"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", MODELS)
def test_an_adaptation_loads_on_a_copy_of_its_base(tmp_path, name, dtype, sharded):
    """And one that was trained on the copy loads on the base."""
    model = MODELS[name]
    copy = load_copy(model, tmp_path / "m", dtype, sharded)
    assert not np.array_equal(copy(IDS).data, model(IDS).data)
    for base, other in ((model, copy), (copy, model)):
        γ = random_adaptation(base)
        mp.save(γ, tmp_path / "a")
        again = mp.load_adaptation(tmp_path / "a", other)
        assert np.array_equal(other(IDS, again).data, other(IDS, random_adaptation(other)).data)


@pytest.mark.parametrize("dtype", HALVES)
def test_an_adaptation_loads_on_a_copy_of_a_merged_base(tmp_path, dtype):
    merged = mp.merge(MODELS["gpt2"], random_adaptation(MODELS["gpt2"]))
    mp.save(random_adaptation(merged), tmp_path / "a")
    mp.load_adaptation(tmp_path / "a", load_copy(merged, tmp_path / "m", dtype))
    with pytest.raises(CheckpointError, match="made for another base model: weights="):
        mp.load_adaptation(tmp_path / "a", load_copy(MODELS["gpt2"], tmp_path / "m", dtype))


def test_a_checksum_of_an_older_folder_is_known(tmp_path):
    """It is of float16 alone."""
    model = MODELS["gpt2"]
    mp.save(random_adaptation(model), tmp_path / "a")
    half, _ = model.weights_checksum().split("-")
    set_metadata(base=json.dumps({"weights": half}))(tmp_path / "a")
    mp.load_adaptation(tmp_path / "a", model)
    mp.load_adaptation(tmp_path / "a", load_copy(model, tmp_path / "m", "float16"))
    for wrong in ("0" * 16, "", [half], 1):
        set_metadata(base=json.dumps({"weights": wrong}))(tmp_path / "a")
        with pytest.raises(CheckpointError, match="made for another base model: weights="):
            mp.load_adaptation(tmp_path / "a", model)


def test_checksums_are_the_same_if_one_part_is():
    a, b = "1" * 16, "2" * 16
    assert same_weights(None, None) and same_weights(f"{a}-{b}", f"{b}-{b}")
    assert same_weights(a, f"{a}-{b}") and not same_weights(a, f"{b}-{b}")
    assert not same_weights(None, a) and not same_weights("", f"{a}-{b}")


# -- the command


@pytest.mark.parametrize("thing", ["model", "adaptation"])
def test_convert_writes_bfloat16(tmp_path, thing):
    model = MODELS["llama"]
    mp.save(model, tmp_path / "m")
    mp.save(random_adaptation(model), tmp_path / "a")
    options = {} if thing == "model" else {"model": str(tmp_path / "m")}
    source = tmp_path / ("m" if thing == "model" else "a")
    Convert(source=str(source), out=tmp_path / "out", dtype="bfloat16", **options).run()
    file = MODEL if thing == "model" else TENSORS
    with safe_open(tmp_path / "out" / file, "np") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"BF16"}
    if thing == "model":
        assert np.isfinite(mp.load(tmp_path / "out")(IDS).data).all()
    else:
        mp.load_adaptation(tmp_path / "out", load_copy(model, tmp_path / "half", "bfloat16"))
