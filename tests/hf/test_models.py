"""Folders: what is saved comes back, bit for bit; what is broken is one clear error."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from minipeft import (
    PLAIN,
    BertConfig,
    Chain,
    Classifier,
    Config,
    Each,
    Encoded,
    Encoder,
    Features,
    FullFineTuning,
    LoRA,
    PrefixTuning,
    Probe,
    SpanClassifier,
    Tensor,
    TokenClassifier,
    merge,
    stack,
)
from minipeft.adaptation.merge import fold
from minipeft.hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from minipeft.model.heads import Head
from tests.support.families import (
    BERT,
    DECODERS,
    ENCODERS,
    GPT2,
    METHODS,
    NONE,
    ROTARY,
    C,
    attached,
    batch,
    decoder,
    encoder,
)
from tests.support.spoil import sharded

MODEL, LLAMA = DECODERS["gpt2"], DECODERS["llama"]  # float64
IDS, _, MASK = batch(MODEL, 4)
OWN = [name for name in METHODS if name != "plain"]
EVERYWHERE = r"attn\.[qkvo]$|mlp\.(up|down)$"


def same(a, b):
    """The same tensors, of the same names, kinds and bits; and what is shared is shared."""
    a, b = dict(a.named_parameters()), dict(b.named_parameters())
    alike = lambda ts: {name: next(n for n, u in ts.items() if u is t) for name, t in ts.items()}
    assert alike(a) == alike(b)
    for name, t in a.items():
        assert t.dtype == b[name].dtype and np.array_equal(t.data, b[name].data), name


def logits(model, adaptation=PLAIN):
    return model(IDS, adaptation, mask=MASK).data


# -- what is saved comes back


@pytest.mark.parametrize("targets", ["ln2$", r"1\.ln2$"])
@pytest.mark.parametrize("model", [MODEL, ENCODERS["bert"]], ids=["gpt2", "bert"])
def test_layers_kept_whole_beside_a_lora_come_back(tmp_path, model, targets):
    γ = Chain(LoRA(2), FullFineTuning(targets)).attach(model, np.random.default_rng(0))
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    save_file(load_file(path), path)  # without what we wrote beside
    assert len(load_adaptation(tmp_path / "a", model).methods[1].at) == len(γ.methods[1].at)


@pytest.mark.parametrize(
    "config", [BERT, BertConfig(11, 12, 3, 4, 20, ffn_width=10, token_types=3)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("without", [(), ("pooler",), ("transform", "head")])
def test_an_encoder_comes_back(tmp_path, config, dtype, without):
    model = Encoder(config, np.random.default_rng(0)) if "head" in without else encoder(config)
    if "pooler" in without:
        del model.pooler
    model = model.map(lambda t: Tensor(t.data.astype(dtype)))
    save(model, tmp_path / "m", dtype=dtype)
    again = load(tmp_path / "m")
    assert again.config == config and type(again) is type(model)
    same(again, model)


def test_names_of_the_first_berts_are_understood(tmp_path):
    save(ENCODERS["bert"], tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m/model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(path)
    for new, name in old.items():
        tensors = {key.replace(new, name): x for key, x in tensors.items()}
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    tensors["cls.seq_relationship.weight"] = np.ones((2, 8))
    tensors["bert.embeddings.position_ids"] = np.arange(32)[None]
    save_file(tensors, path)
    same(load(tmp_path / "m"), ENCODERS["bert"])


@pytest.mark.parametrize("config", [GPT2, Config(11, 12, 3, 4, 20, ffn_width=10, tied_head=False)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back(tmp_path, config, dtype):
    model = decoder(config).map(lambda t: Tensor(t.data.astype(dtype)))
    save(model, tmp_path / "m", dtype=dtype)
    again = load(tmp_path / "m")
    assert again.config == config
    same(again, model)
    assert not any(t.data.flags.writeable for t in again.parameters())


def test_halves_come_back_where_they_are_exact(tmp_path):
    model = decoder(GPT2).map(lambda t: Tensor(t.data.astype("float16").astype("float32")))
    save(model, tmp_path / "m", dtype=np.float16)
    assert next(iter(load_file(tmp_path / "m/model.safetensors").values())).dtype == np.float16
    same(load(tmp_path / "m"), model)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    save(decoder(GPT2), tmp_path / "m")
    path = tmp_path / "m/model.safetensors"
    tensors = load_file(path)
    header, data, at = {}, b"", 0
    for name, x in tensors.items():
        raw = (x.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        offsets = [at, at := at + len(raw)]
        header[name] = {"dtype": "BF16", "shape": x.shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    cut = lambda x: (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    same(load(tmp_path / "m"), decoder(GPT2).map(lambda t: Tensor(cut(t.data))))


@pytest.mark.parametrize("model", [MODEL, ENCODERS["bert"]])
def test_shards_are_what_one_file_is(tmp_path, model):
    save(model, tmp_path / "m", dtype=np.float64)
    sharded()(tmp_path / "m")
    assert len([*(tmp_path / "m").glob("*.safetensors")]) == 2
    same(again := load(tmp_path / "m"), model)
    save(again, tmp_path / "one")
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"config.json", "model.safetensors"}


def test_the_cache_of_the_hub_is_read(tmp_path):
    """snapshots/REVISION has links to blobs of the same repository, and to nothing else."""
    save(MODEL, tmp_path / "m", dtype=np.float64)
    snapshot, blobs = tmp_path / "models--a--b/snapshots/0123", tmp_path / "models--a--b/blobs"
    snapshot.mkdir(parents=True)
    (tmp_path / "m").rename(blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    same(load(snapshot), MODEL)
    (tmp_path / "m").symlink_to(snapshot)
    same(load(tmp_path / "m"), MODEL)
    (tmp_path / "a/b/m").mkdir(parents=True)
    (tmp_path / "a/blobs").mkdir()
    (tmp_path / "a/blobs/config.json").write_bytes((blobs / "config.json").read_bytes())
    (tmp_path / "a/b/m/config.json").symlink_to("../../blobs/config.json")
    with pytest.raises(CheckpointError, match=r"config\.json is a link out of its folder"):
        load(tmp_path / "a/b/m")  # which is no cache
    (tmp_path / "blobs").mkdir()
    (blobs / "config.json").rename(tmp_path / "blobs/config.json")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../blobs/config.json")
    with pytest.raises(CheckpointError, match=r"config\.json is a link out of its folder"):
        load(snapshot)


def test_old_names_and_masks_are_understood(tmp_path):
    save(MODEL, tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m/model.safetensors"
    bare = {name.removeprefix("transformer."): x for name, x in load_file(path).items()}
    bare |= {f"h.{n}.attn.bias": np.tril(np.ones((1, 1, 9, 9), bool)) for n in range(2)}
    bare |= {"h.0.attn.masked_bias": np.array(-np.inf), "lm_head.weight": bare["wte.weight"]}
    save_file(bare, path)
    same(load(tmp_path / "m"), MODEL)


@pytest.mark.parametrize("name", OWN)
def test_an_adaptation_comes_back(tmp_path, name):
    γ = attached(name, MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    again = load_adaptation(tmp_path / "a", MODEL, resume=True)
    same(again, γ)
    assert repr(again) == repr(γ) and again.kind() == γ.kind() and again.base == GPT2
    assert np.array_equal(logits(MODEL, again), logits(MODEL, γ))
    assert np.array_equal(logits(MODEL, load_adaptation(tmp_path / "a", MODEL)), logits(MODEL, γ))


@pytest.mark.parametrize("name", OWN)
def test_an_adaptation_is_of_the_models_float(tmp_path, name):
    save(attached(name, MODEL), tmp_path / "a")  # in float32
    again = load_adaptation(tmp_path / "a", MODEL, resume=True)
    assert {p.dtype for p in again.parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("base, pool", [(MODEL, "last"), (ENCODERS["bert"], "cls")])
def test_an_adaptation_with_a_head_comes_back(tmp_path, name, base, pool):
    model = Classifier(base, C, pool)
    γ = attached(name, model)
    save(γ, tmp_path / "a", dtype=np.float64)
    same(load_adaptation(tmp_path / "a", model, resume=True), γ)
    assert np.array_equal(logits(model, load_adaptation(tmp_path / "a", model)), logits(model, γ))


def test_a_probe_alone_and_a_float32_model(tmp_path):
    model = Classifier(MODEL.astype(np.float32), C)
    γ = Probe().attach(model).map(lambda p: Tensor(p.data + np.float32(0.1), requires_grad=True))
    save(γ, tmp_path / "a")
    same(load_adaptation(tmp_path / "a", model), γ)


def test_an_encoder_is_kept_to_train_on_and_else_folded(tmp_path):
    γ = attached("encoded prefix", MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert (tmp_path / "a/reparametrization.safetensors").exists()
    folded = load_adaptation(tmp_path / "a", MODEL)
    assert repr(folded) == repr(γ.method)
    same(folded, fold(γ))
    assert type(load_adaptation(tmp_path / "a", MODEL, resume=True)) is Encoded


def test_what_a_folder_says_of_tokens_and_labels_is_kept(tmp_path):
    save(Classifier(MODEL, 3), tmp_path / "m")
    path = tmp_path / "m/config.json"
    labels = {"0": "bad", "1": "fair", "2": "good"}
    said = {"eos_token_id": [1, 2], "pad_token_id": 5, "id2label": labels}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    save(load(tmp_path / "m"), tmp_path / "again")
    again = json.loads((tmp_path / "again/config.json").read_text())
    assert {name: again[name] for name in said} == said
    save(Classifier(load(tmp_path / "again"), 2), tmp_path / "other")
    other = json.loads((tmp_path / "other/config.json").read_text())
    assert other["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"} and other["pad_token_id"] == 5


@pytest.mark.parametrize(
    "model",
    [
        decoder(GPT2),
        decoder(Config(11, 12, 3, 4, 20, tied_head=False)),
        Features(decoder(Config(11, 12, 3, 4, 20, tied_head=False))),
        encoder(BERT),
        Encoder(BERT, np.random.default_rng(0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_a_folder_does_not_say_its_file_shows(tmp_path, model):
    save(model, tmp_path / "m")
    path = tmp_path / "m/config.json"
    said = json.loads(path.read_text())
    del said["architectures"]
    path.write_text(json.dumps(said))
    assert type(load(tmp_path / "m")) is type(model)


@pytest.mark.parametrize("model", [MODEL, ENCODERS["bert"]], ids=["gpt2", "bert"])
def test_features_leave_the_head_out(tmp_path, model):
    save(Features(model), tmp_path / "m", dtype=np.float64)
    assert not [n for n in load_file(tmp_path / "m/model.safetensors") if "cls" in n or "head" in n]
    again = load(tmp_path / "m")
    assert np.array_equal(Features(again)(IDS).data, Features(model)(IDS).data)


def test_full_fine_tuning_merged_is_a_model(tmp_path):
    γ = attached("full", MODEL)
    save(merge(MODEL, γ), tmp_path / "m", dtype=np.float64)
    np.testing.assert_allclose(logits(load(tmp_path / "m")), logits(MODEL, γ), atol=1e-12)


def test_a_tokenizer_stands_beside_its_model(tmp_path):
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    save(MODEL, tmp_path / "m", tokenizer)
    assert load_tokenizer(tmp_path / "m").get_vocab() == {"a": 0, "b": 1}


# -- PEFT's forms


def config_of(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def foreign(folder, config, tensors):
    """A folder as another program may write it: the least that PEFT reads."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 3, "unheard": [1]}


def lora_tensors(model=MODEL, r=2):
    rng, D = np.random.default_rng(0), model.config.width
    name = "base_model.model.transformer.h.{}.attn.c_attn.lora_{}.weight".format
    A = {name(n, "A"): rng.normal(size=(r, D)) for n in range(model.config.layers)}
    return A | {name(n, "B"): rng.normal(size=(3 * D, r)) for n in range(model.config.layers)}


def test_a_fused_A_is_one_tensor_and_goes_out_as_one(tmp_path):
    γ = load_adaptation(foreign(tmp_path / "a", LORA, lora_tensors()), MODEL)
    q, k, v = (γ.at[f"blocks.0.attn.{name}"] for name in "qkv")
    assert q[0] is k[0] is v[0] and len(γ.parameters()) == 2 * (1 + 3)
    assert γ.attach(MODEL, np.random.default_rng(0)).targets == r"(attn\.q|attn\.k|attn\.v)$"
    γ = load_adaptation(tmp_path / "a", MODEL)
    save(γ, tmp_path / "again", dtype=np.float64)
    config, tensors = (
        config_of(tmp_path / "again"),
        load_file(tmp_path / "again/adapter_model.safetensors"),
    )
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 3, ["attn.c_attn"])
    assert tensors.keys() == lora_tensors().keys()
    assert all(np.array_equal(x, tensors[name]) for name, x in lora_tensors().items())


@pytest.mark.parametrize(
    "targets", [r"attn\.[qv]$", r"attn\.k$", EVERYWHERE, r"0\.attn\.[qv]|1\.attn\.k|1\.mlp\.up"]
)
def test_stacked_as_PEFT_has_it_lora_is_what_it_was(tmp_path, targets):
    γ = LoRA(3, 5, targets=targets).attach(MODEL, np.random.default_rng(0))
    for p in γ.parameters():
        p.data = np.random.default_rng(1).normal(size=p.shape)
    save(γ, tmp_path / "a", dtype=np.float64)
    config = config_of(tmp_path / "a")
    assert "minipeft" not in config  # PEFT warns of what it does not know
    ranks = [config["r"], *config["rank_pattern"].values()]
    alphas = [config["lora_alpha"], *config["alpha_pattern"].values()]
    assert [a / r for a, r in zip(alphas, ranks)] == pytest.approx([5 / 3] * len(ranks))
    path = tmp_path / "a/adapter_model.safetensors"
    save_file(load_file(path), path)  # as if PEFT had saved it: without our metadata
    stacked = load_adaptation(tmp_path / "a", MODEL)
    np.testing.assert_allclose(logits(MODEL, stacked), logits(MODEL, γ), rtol=0, atol=1e-12)


def test_ranks_and_scales_of_their_own_come_in(tmp_path):
    D, more = GPT2.width, {"use_rslora": True, "rank_pattern": {"h.1.attn.c_attn": 4}}
    tensors = lora_tensors()
    name = "base_model.model.transformer.h.1.attn.c_attn.lora_{}.weight".format
    tensors |= {name("A"): np.ones((4, D)), name("B"): np.ones((3 * D, 4))}
    γ = load_adaptation(foreign(tmp_path / "a", LORA | more, tensors), MODEL)
    for n, r in ((0, 2), (1, 4)):
        name = f"base_model.model.transformer.h.{n}.attn.c_attn.lora_{{}}.weight".format
        (lora,) = [m for m in γ.methods if f"blocks.{n}.attn.v" in m.at]
        A, B = lora.at[f"blocks.{n}.attn.v"]
        want = 3 / r**0.5 * tensors[name("A")].T @ tensors[name("B")].T[:, 2 * D :]
        np.testing.assert_allclose(lora.scale * A.data @ B.data, want, atol=1e-12)


def test_prefix_columns_are_k0_v0_k1_v1(tmp_path):
    P = np.arange(3 * 4 * 8.0).reshape(3, 32)
    config = {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 3}
    γ = load_adaptation(foreign(tmp_path / "a", config, {"prompt_embeddings": P}), MODEL)
    assert repr(γ) == repr(PrefixTuning(3))
    for i, (path, which) in enumerate((f"blocks.{n}.attn", w) for n in (0, 1) for w in (0, 1)):
        assert np.array_equal(γ.at[path][which].data, P[:, 8 * i : 8 * i + 8])


def test_what_PEFT_can_not_hold_is_saved_in_our_names(tmp_path):
    kinds = {
        "prefix that shifts nothing": "MINIPEFT_PREFIXTUNING",
        "prefix in the upper layer": "MINIPEFT_PREFIXTUNING",
        "houlsby": "MINIPEFT_ADAPTER",
        "full": "MINIPEFT_FULLFINETUNING",
        "chain": "MINIPEFT_CHAIN",
        "encoded prefix": "PREFIX_TUNING",
        "lora": "LORA",
    }
    for name, kind in kinds.items():
        save(attached(name, MODEL), tmp_path / name, dtype=np.float64)
        assert config_of(tmp_path / name)["peft_type"] == kind
    config = config_of(tmp_path / "houlsby")
    assert config["bottleneck"] == 3 and "blocks.0.attn.o.D" in load_file(
        tmp_path / "houlsby/adapter_model.safetensors"
    )


def test_a_head_is_saved_as_PEFT_saves_it(tmp_path):
    model = Classifier(MODEL, C)
    for name, key in (
        ("lora", "base_model.model.score.weight"),
        ("prefix of 2", "base_model.score.weight"),
    ):
        save(attached(name, model), tmp_path / name)
        assert config_of(tmp_path / name)["task_type"] == "SEQ_CLS"
        tensors = load_file(tmp_path / name / "adapter_model.safetensors")
        assert tensors[key].shape == (C, GPT2.width)
        with pytest.raises(
            CheckpointError, match=r"score.weight: load it beside Classifier\(model, 3"
        ):
            load_adaptation(tmp_path / name, MODEL)


@pytest.mark.parametrize(
    "made, on, says",
    [
        (
            Classifier(MODEL, C),
            TokenClassifier(MODEL, C, True),
            r"Classifier\(model, 3, bias=False",
        ),
        (TokenClassifier(LLAMA, C), Classifier(LLAMA, C), r"TokenClassifier\(model, 3, bias=True"),
        (SpanClassifier(MODEL), MODEL, r"SpanClassifier\(model, bias=True\)"),
        (
            Classifier(MODEL, C),
            Classifier(MODEL, 2),
            r"score.weight is \(3, 8\), but must be \(2, 8",
        ),
    ],
)
def test_a_head_is_of_its_own_kind(tmp_path, made, on, says):
    save(attached("lora", made), tmp_path / "a")
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(tmp_path / "a", on)


@pytest.mark.parametrize("resized", [False, True])
def test_embeddings_saved_beside_an_adapter(tmp_path, resized):
    """Those of the base say nothing; others are kept whole, as their head is."""
    save(attached("lora", LLAMA), tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    W, head = LLAMA.tokens.W.data + resized, LLAMA.head.W.data.T + resized
    more = {"model.embed_tokens.weight": W, "lm_head.weight": np.ascontiguousarray(head)}
    save_file(load_file(path) | {f"base_model.model.{n}": x for n, x in more.items()}, path)
    γ = load_adaptation(tmp_path / "a", LLAMA)
    if not resized:
        assert repr(γ) == repr(LoRA(2, 3, targets=r"(attn\.q|attn\.v)$"))
    else:
        assert repr(γ.methods[1]) == "FullFineTuning(targets='(tokens|head)$')"
        own = dict(γ.methods[1].named_parameters())
        assert np.array_equal(own["tokens.W"].data, W)
        assert np.array_equal(own["head.W"].data, head.T)


@pytest.mark.parametrize(
    "more, says",
    [
        ({"layers_to_transform": [0, 2]}, r"layers_to_transform=\[0, 2\] must be .* 0 to 1"),
        ({"layers_pattern": "blocks", "layers_to_transform": 1}, "layers_pattern='blocks' is not"),
        ({"target_modules": ["lm_head"]}, "lm_head has not a matrix of its own"),
        ({"target_modules": ["ln_1"]}, "h.0.ln_1 has not a matrix to change"),
    ],
)
def test_a_lora_of_what_is_not_there(tmp_path, more, says):
    folder = foreign(tmp_path / "a", LORA | more, lora_tensors())
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(folder, MODEL)


# -- what is broken


def edited(**changes):
    def edit(folder, file):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return lambda folder: edit(folder, next(p.name for p in folder.glob("*config.json")))


def rewritten(change):
    def rewrite(folder):
        path = next(folder.glob("*model.safetensors"))
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return rewrite


def put(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def shorter(folder):
    path = next(folder.glob("*model.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])


def gone(file, instead=None):
    def change(folder):
        (folder / file).unlink()
        if instead:
            (folder / instead).write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    return change


def set_to(name, value):
    return rewritten(lambda ts: ts.update({name: value(ts[name])}))


WTE, C_FC = "transformer.wte.weight", "transformer.h.0.mlp.c_fc.weight"
BROKEN = {  # what is done to a model's folder, what the error says
    "no config": (gone("config.json"), r"config\.json: no such file; the folder has model\.safe"),
    "no tensors": (gone("model.safetensors"), r"model\.safetensors: no such file"),
    "a pickle": (gone("model.safetensors", "pytorch_model.bin"), "pickles .* never opened"),
    "a pickle by another name": (
        put("model.safetensors", b"\x80\x04\x95" * 9),
        "is no whole safetensors",
    ),
    "empty": (put("model.safetensors", b""), "is no whole safetensors"),
    "truncated": (shorter, "is no whole safetensors"),
    "no JSON": (put("config.json", b"{'a': 1}"), r"config\.json is not JSON"),
    "no text": (put("config.json", b"\xff\xfe\x00"), r"config\.json is not JSON"),
    "deep": (put("config.json", b"[" * 10**5), r"config\.json is not JSON"),
    "a list": (put("config.json", b"[1]"), r"must hold a JSON object, not \[1\]"),
    "foreign": (
        edited(model_type="t5"),
        "model_type='t5' is not supported, only 'gpt2' or 'llama' or 'qwen2' or 'mistral' or ",
    ),
    "no family": (edited(model_type=None), "model_type='' is not supported"),
    "activation": (edited(activation_function="relu"), "'relu' is not supported, only 'gelu_new'"),
    "cross": (edited(add_cross_attention=True), "add_cross_attention=True is not supported"),
    "scale": (edited(scale_attn_weights=False), "scale_attn_weights=False is not supported"),
    "inverse": (edited(scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx=True is not"),
    "upcast": (edited(reorder_and_upcast_attn=True), "reorder_and_upcast_attn=True is not"),
    "a width of words": (edited(n_embd="8"), "n_embd='8' must be a positive int"),
    "no layers": (edited(n_layer=0), "n_layer=0 must be a positive int"),
    "too many layers": (edited(n_layer=10**9), r"h\.999999999\.mlp\.c_fc\.weight is missing"),
    "too wide": (edited(n_embd=10**12), r"wte\.weight is \(13, 8\), but must be \(13, 1000"),
    "heads": (edited(n_head=3), "width 8 must be a multiple of heads 3"),
    "labels": (edited(id2label=5), "id2label=5 must be a dict"),
    "an infinite eps": (edited(layer_norm_epsilon=float("inf")), "eps.* must be a finite float"),
    "missing": (rewritten(lambda ts: ts.pop("transformer.ln_f.bias")), r"ln_f\.bias is missing"),
    "unexpected": (rewritten(lambda ts: ts.update(x=ts[WTE])), "no place for x"),
    "shape": (set_to(C_FC, np.transpose), r"c_fc\.weight is \(32, 8\), but must be \(8, 32\)"),
    "whole numbers": (set_to(C_FC, lambda x: x.astype(int)), r"c_fc\.weight is I64, not one of"),
    "NaN": (set_to(C_FC, lambda x: x * np.nan), r"c_fc\.weight holds NaN"),
    "untied": (
        rewritten(lambda ts: ts.update({"lm_head.weight": ts[WTE] + 1})),
        r"lm_head\.weight is not wte\.weight",
    ),
}


@pytest.mark.parametrize(
    "change, says",
    [
        (edited(hidden_act="relu"), "hidden_act='relu' is not supported, only 'gelu'"),
        (edited(position_embedding_type="relative_key"), "'relative_key' is not supported"),
        (edited(is_decoder=True), "is_decoder=True is not supported"),
        (edited(tie_word_embeddings=False), "tie_word_embeddings=False is not supported"),
        (edited(num_hidden_layers=10**9), r"999999999\.intermediate\.dense\.weight is missing"),
        (set_to("bert.pooler.dense.weight", lambda x: x[:3]), r"pooler.* is \(3, 8\), but must be"),
        (
            rewritten(lambda ts: ts.update({"cls.predictions.decoder.bias": np.ones(13)})),
            "cls.predictions.decoder.bias is not cls.predictions.bias, so not tied",
        ),
        (rewritten(lambda ts: ts.update(x=np.ones(3))), "no place for x"),
    ],
)
def test_a_broken_encoder_is_one_clear_error(tmp_path, change, says):
    save(ENCODERS["bert"], tmp_path / "m")
    change(tmp_path / "m")
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path / "m")


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_model_is_one_clear_error(tmp_path, what):
    save(MODEL, tmp_path / "m")
    change, says = BROKEN[what]
    change(tmp_path / "m")
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path / "m")


STRETCH = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SLIDE, SEE = "sliding_attention", "full_attention"
UNKNOWN = {  # settings of a Llama's folder, and what the error says
    "an activation": ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported"),
    "yarn": ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn' is not supported"),
    "an old name": ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "'linear' is"),
    "a part": (
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "partial_rotary_factor=0.5 is not supported",
    ),
    "two stretches": ({"rope_scaling": STRETCH}, "rope_scaling=.* keep one"),
    "half a stretch": (
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
        "needs factor, low_freq_factor",
    ),
    "no stretch": ({"rope_parameters": STRETCH | {"factor": 0.0}}, "0 < factor"),
    "no turn": ({"rope_parameters": {"rope_theta": 0.0}}, "theta=0.0 must be more than 0"),
    "a window of some layers": (
        {"model_type": "mistral", "sliding_window": 3, "layer_types": [SLIDE, SEE]},
        "sliding_window=3 is not of all layers",
    ),
    "a window of no layers": (  # transformers' Mistral has it in all
        {"model_type": "mistral", "sliding_window": 3, "layer_types": [SEE, SEE]},
        "sliding_window=3 is not of all layers",
    ),
    "a window of the upper layers": (
        {
            "model_type": "qwen2",
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 1,
        },
        "sliding_window=3 is not of all layers",
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_computed_is_refused_by_name(tmp_path, what):
    more, says = UNKNOWN[what]
    save(decoder(replace(LLAMA.config, biases=(), window=None)), tmp_path / "m")
    path = tmp_path / "m/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path / "m")


P = "prompt_embeddings"
BROKEN_ADAPTATIONS = {  # of which method, what is done to its folder, what the error says
    "no config": ("lora", gone("adapter_config.json"), r"adapter_config\.json: no such file"),
    "a pickle": (
        "lora",
        gone("adapter_model.safetensors", "adapter_model.bin"),
        "pickles .* never opened",
    ),
    "truncated": ("lora", shorter, "is no whole safetensors"),
    "unknown": ("lora", edited(peft_type="VERA"), "'VERA' is not supported, only PROMPT_TUNING, P"),
    "no type": ("lora", edited(peft_type=None), "peft_type=None is not supported"),
    "a type of numbers": ("lora", edited(peft_type=[1]), r"peft_type=\[1\] must be a str"),
    "dora": ("lora", edited(use_dora=True), "c_attn.lora_magnitude_vector is missing"),
    "biases": ("lora", edited(bias="all"), r"wte|ln_1\.bias is missing"),
    "some biases": ("lora", edited(bias="some"), "bias='some' is not supported, only 'none'"),
    "vera": ("lora", edited(use_qalora=True), "use_qalora=True is not supported"),
    "pissa": ("lora", edited(init_lora_weights="pissa"), "'pissa' is not supported"),
    "a rank of words": ("lora", edited(r="2"), "r='2' must be a positive int"),
    "another rank": ("lora", edited(r=7), r"lora_A\.weight is \(4, 8\), but must be \(7, 8\)"),
    "no layers": ("lora", edited(target_modules=["q_proj"]), "no layer matches"),
    "more layers": ("lora", edited(target_modules=["c_attn", "c_fc"]), r"c_fc\.lora_A.* missing"),
    "fewer layers": ("lora", edited(layers_to_transform=[1]), r"no place for h\.0\.attn\.c_attn"),
    "no pattern": ("lora", edited(target_modules="("), r"target_modules='\(' is no pattern"),
    "alpha": ("lora", edited(lora_alpha=float("nan")), "lora_alpha=nan must be a finite float"),
    "patterns": ("lora", edited(rank_pattern=[3]), r"rank_pattern must hold a JSON object, not"),
    "a pattern's rank": (
        "lora",
        edited(rank_pattern={"c_attn": "4"}),
        "rank_pattern: c_attn='4' must be a positive int",
    ),
    "length": ("prefix of 2", edited(num_virtual_tokens=3), r"is \(2, 32\), but must be \(3, 32\)"),
    "width": ("prompt of 3", edited(token_dim=16), "token_dim=16 is not supported, only 8; it was"),
    "depth": ("prefix of 2", edited(num_layers=12), "num_layers=12 .* made for another base"),
    "NaN": ("prompt of 3", set_to(P, lambda x: x * np.inf), f"{P} holds NaN or infinity"),
    "no tensor": ("prompt of 3", rewritten(lambda ts: ts.pop(P)), f"{P} is missing"),
    "two": ("prompt of 3", rewritten(lambda ts: ts.update(x=ts[P])), "no place for x"),
    "bottleneck": (
        "houlsby",
        edited(bottleneck=4),
        r"attn\.o\.D is \(8, 3\), but must be \(8, 4\)",
    ),
    "a huge one": ("houlsby", edited(bottleneck=10**15), "holds no adaptation of this model"),
    "of what": ("houlsby", edited(peft_type="MINIPEFT_ENCODED"), "must hold a JSON object"),
    "no encoder": (
        "encoded prompt",
        gone("reparametrization.safetensors"),
        r"reparametrization\.safetensors: no such file",
    ),
}


@pytest.mark.parametrize("what", BROKEN_ADAPTATIONS)
def test_a_broken_adaptation_is_one_clear_error(tmp_path, what):
    name, change, says = BROKEN_ADAPTATIONS[what]
    save(attached(name, MODEL), tmp_path / "a")
    change(tmp_path / "a")
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(tmp_path / "a", MODEL, resume=True)


@pytest.mark.parametrize("name", OWN)
def test_an_adaptation_of_another_base_is_refused(tmp_path, name):
    save(attached(name, MODEL), tmp_path / "a")
    others = {
        "width=8, not 16": decoder(Config(13, 16, 2, 2, 32)),
        "layers=2, not 3": decoder(Config(13, 8, 3, 2, 32)),
        "weights='.*', not '": decoder(GPT2),  # of the same shapes
        "post=False, not True": encoder(BERT),
    }
    for says, other in others.items():
        with pytest.raises(CheckpointError, match=f"was made for another base: .*{says}"):
            load_adaptation(tmp_path / "a", other)
    load_adaptation(tmp_path / "a", MODEL.astype(np.float32))


def test_a_probe_trained_on_features_loads_on_their_model(tmp_path):
    model = Classifier(MODEL, C)
    probe = Probe().attach(Head(model.score, model.config))
    trained = probe.map(lambda p: Tensor(p.data + 0.1, requires_grad=True))
    save(trained, tmp_path / "a", dtype=np.float64)
    same(load_adaptation(tmp_path / "a", model), trained)


def test_an_adaptation_that_says_nothing_of_its_base_loads(tmp_path):
    γ = attached("lora", MODEL)
    save(γ, tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a/adapter_model.safetensors"
    save_file(load_file(path), path)  # as PEFT saves it
    model = decoder(GPT2).astype(np.float64)
    again = load_adaptation(tmp_path / "a", model)
    assert np.abs(logits(model, again) - logits(model, γ)).max() <= 1e-12
    assert np.abs(logits(model, again) - logits(model)).max() > 1e-2


def test_a_slip_in_the_call_is_not_the_folders_fault(tmp_path):
    save(attached("lora", MODEL), tmp_path / "a")
    with pytest.raises(ValueError, match="compat='PEFT': there is None and 'peft'") as caught:
        load_adaptation(tmp_path / "a", MODEL, compat="PEFT")
    assert caught.type is ValueError
    with pytest.raises(TypeError, match="an adaptation is of a model, not of a str"):
        load_adaptation(tmp_path / "a", "gpt2")


def test_no_folder(tmp_path):
    for read in (load, load_tokenizer, lambda folder: load_adaptation(folder, MODEL)):
        with pytest.raises(CheckpointError, match="there is no folder"):
            read(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is no tokenizer"):
        load_tokenizer(tmp_path)


# -- what can't be saved


@pytest.mark.parametrize(
    "config, field",
    [
        (ROTARY, "GPT-2's positions is 'learned', not 'rotary'; Llama's activation is 'silu', not"),
        (NONE, "Llama's positions is 'rotary', not 'none'"),
    ],
)
def test_what_no_folder_can_hold_is_refused_by_name(tmp_path, config, field):
    model = decoder(config)
    for thing in (model, *(attached(n, model) for n in ("lora", "prompt of 3", "encoded prefix"))):
        with pytest.raises(CheckpointError, match=field):
            save(thing, tmp_path / "x")
    save(attached("houlsby", model), tmp_path / "own")  # our own names can
    assert [p.name for p in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(
    "config, says",
    [
        (replace(LLAMA.config, biases=("q", "k", "v", "o")), "window=6"),  # Mistral has no biases
        (replace(LLAMA.config, biases=(), layers=0), "num_hidden_layers=0 must be a positive int"),
        (replace(BERT, token_types=0), "type_vocab_size=0 must be a positive int"),
    ],
)
def test_what_would_not_come_back_is_not_saved(tmp_path, config, says):
    with pytest.raises(CheckpointError, match=says):
        save(decoder(config) if config.causal else encoder(config), tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_what_has_no_format_is_refused(tmp_path):
    users = [attached("lora", MODEL, user) for user in range(2)]
    huge = MODEL.map(lambda t: Tensor(t.data + 1e6))
    refused = [
        (stack(users), {}, "stack of several users"),
        (Each(users), {}, "can't be saved, only MINIPEFT_ADAPTER"),
        (PLAIN, {}, "can't be saved"),
        (LoRA(), {}, "attached to no model yet"),
        (MODEL, {"dtype": "int32"}, "there is float16"),
        (MODEL, {"dtype": "bfloat16"}, "dtype=bfloat16: there is float16"),
        (huge, {"dtype": "float16"}, "holds NaN or infinity as float16"),
        (Classifier(MODEL, C, "mean"), {}, "GPT-2's classifiers don't have pool='mean'"),
        (Classifier(MODEL, C, bias=True), {}, "GPT-2's classifiers have no score.bias"),
    ]
    for thing, options, says in refused:
        with pytest.raises(ValueError, match=says):
            save(thing, tmp_path / "x", **options)
    with pytest.raises(TypeError, match="not a int"):
        save(2, tmp_path / "x")
    with pytest.raises(TypeError, match="the tokenizer is a Tokenizer, not a str"):
        save(MODEL, tmp_path / "x", "tokenizer.json")
    odd = Encoder(Config(13, 8, 2, 2, 32, causal=False), np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="BERT's activation is 'gelu', not 'gelu_tanh'"):
        save(odd, tmp_path / "x")
    assert not any(tmp_path.iterdir())


# -- whole, or not at all


def contents(folder):
    return {str(p.relative_to(folder)): p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def test_a_save_replaces_an_earlier_one_whole(tmp_path):
    save(attached("encoded prefix", MODEL), tmp_path / "runs/a")
    save(attached("lora", MODEL), tmp_path / "runs/a")
    names = {"adapter_config.json", "adapter_model.safetensors"}
    assert {p.name for p in (tmp_path / "runs/a").iterdir()} == names
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["chain", "lora"])
def test_the_same_adaptation_is_the_same_bytes(tmp_path, name):
    for i in range(8):
        save(attached(name, MODEL), tmp_path / f"{i}")
        assert contents(tmp_path / f"{i}") == contents(tmp_path / "0")


def test_nothing_else_is_replaced(tmp_path):
    save(MODEL, tmp_path / "model")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thesis.txt").write_text("three years")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    save(attached("lora", MODEL), tmp_path / "mine")
    (tmp_path / "mine/notes.txt").write_text("three more")
    before = contents(tmp_path)
    for name in ("model", "notes", "config", "file", "mine"):
        with pytest.raises(CheckpointError, match="save elsewhere|save to a folder"):
            save(attached("lora", MODEL), tmp_path / name)
    with pytest.raises(CheckpointError, match="save elsewhere"):
        save(MODEL, tmp_path / "config")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("call", ["write_bytes", "rename", "mkdir"])
def test_whatever_fails_the_earlier_save_stays_whole(tmp_path, monkeypatch, call, at):
    """The at-th write, renaming or new folder fails, where no folders change names at once."""
    monkeypatch.setattr("minipeft.storage.folders.exchanged", lambda a, b: False)
    save(attached("lora", MODEL), tmp_path / "a")
    before, calls, works = contents(tmp_path), [], getattr(Path, call)

    def fails(self, *args, **options):
        calls.append(self)
        if len(calls) == at + 1:
            raise OSError("no space left on device")
        return works(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fails)
        try:
            save(attached("encoded prefix", MODEL), tmp_path / "a")
        except OSError:
            assert contents(tmp_path) == before
        else:
            assert len(calls) <= at and contents(tmp_path) != before


def test_a_model_can_be_saved_over_the_files_it_reads(tmp_path):
    save(MODEL, tmp_path / "m", dtype=np.float64)
    model = load(tmp_path / "m")
    save(model, tmp_path / "m", dtype=np.float64)
    same(model, MODEL)
    same(load(tmp_path / "m"), MODEL)
