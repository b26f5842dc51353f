"""Folders of models: what is saved is loaded again, bit for bit."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from minipeft import BertConfig, Config, Encoder, EncoderDecoder, Features, Tensor, merge
from minipeft.hf import CheckpointError, load, load_tokenizer, save
from tests.support import families
from tests.support.families import attached, decoder, encoder, nudged, seq2seq
from tests.support.folder_edits import MODEL, shard, write_parts
from tests.support.folders import BART, BERT, GPT2, T5, assert_same, logits

UNTIED = Config(11, 12, 3, 4, 20, tied_head=False)


@pytest.mark.parametrize(
    "config", [families.GPT2, Config(11, 12, 3, 4, 20, ffn_width=10, tied_head=False)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_decoder_is_loaded_as_it_was(tmp_path, config, dtype):
    model = decoder(config).astype(dtype)
    save(model, tmp_path / "m", dtype=dtype)
    loaded = load(tmp_path / "m")
    assert loaded.config == config
    assert_same(loaded, model)
    assert not any(t.data.flags.writeable for t in loaded.parameters())


@pytest.mark.parametrize("config", [families.T5, families.T5_GATED, families.BART])
def test_an_encoder_decoder_is_loaded_as_it_was(tmp_path, config):
    model = nudged(seq2seq(config))
    save(model, tmp_path / "m", dtype=np.float64)
    loaded = load(tmp_path / "m")
    assert loaded.config == config and type(loaded) is EncoderDecoder
    assert_same(loaded, model)
    names = {name for name in load_file(tmp_path / "m/model.safetensors") if "wi" in name}
    ups = {families.T5: ("wi",), families.T5_GATED: ("wi_0", "wi_1")}.get(config, ())
    places = [f"encoder.block.{n}.layer.1" for n in range(2)]
    places += [f"decoder.block.{n}.layer.2" for n in range(3)]
    assert names == {f"{place}.DenseReluDense.{up}.weight" for place in places for up in ups}


def test_the_copies_of_an_embedding_in_old_files_must_agree(tmp_path):
    save(T5, tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m/model.safetensors"
    tensors = load_file(path)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    save_file(tensors | {"lm_head.weight": tensors["shared.weight"]}, path)
    assert_same(load(tmp_path / "m"), T5)
    save_file(tensors | {"lm_head.weight": tensors["shared.weight"] + 1}, path)
    with pytest.raises(CheckpointError, match="lm_head.weight differs from shared.weight"):
        load(tmp_path / "m")


def test_the_bias_of_bart_must_be_0(tmp_path):
    save(BART, tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m/model.safetensors"
    tensors, zeros = load_file(path), np.zeros((1, families.V))
    save_file(tensors | {"final_logits_bias": zeros}, path)
    assert_same(load(tmp_path / "m"), BART)
    save_file(tensors | {"final_logits_bias": zeros + 1}, path)
    with pytest.raises(CheckpointError, match="final_logits_bias other than 0"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    "config", [families.BERT, BertConfig(11, 12, 3, 4, 20, ffn_width=10, token_types=3)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("without", [(), ("pooler",), ("transform", "head")])
def test_an_encoder_is_loaded_as_it_was(tmp_path, config, dtype, without):
    model = Encoder(config, np.random.default_rng(0)) if "head" in without else encoder(config)
    if "pooler" in without:
        del model.pooler
    model = model.astype(dtype)
    save(model, tmp_path / "m", dtype=dtype)
    loaded = load(tmp_path / "m")
    assert loaded.config == config and type(loaded) is type(model)
    assert_same(loaded, model)


@pytest.mark.parametrize(
    "model",
    [
        decoder(families.GPT2),
        decoder(UNTIED),
        Features(decoder(UNTIED)),
        encoder(families.BERT),
        Encoder(families.BERT, np.random.default_rng(0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_without_architectures_the_tensors_show_the_class(tmp_path, model):
    save(model, tmp_path / "m")
    path = tmp_path / "m/config.json"
    settings = json.loads(path.read_text())
    del settings["architectures"]
    path.write_text(json.dumps(settings))
    assert type(load(tmp_path / "m")) is type(model)


def test_a_merged_model_is_saved_like_any_other(tmp_path):
    γ = attached("full", GPT2)
    save(merge(GPT2, γ), tmp_path / "m", dtype=np.float64)
    np.testing.assert_allclose(logits(load(tmp_path / "m")), logits(GPT2, γ), atol=1e-12)


def test_a_tokenizer_is_saved_beside_its_model(tmp_path):
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    save(GPT2, tmp_path / "m", tokenizer)
    assert load_tokenizer(tmp_path / "m").get_vocab() == {"a": 0, "b": 1}


def test_a_model_can_be_saved_over_the_files_it_reads(tmp_path):
    save(GPT2, tmp_path / "m", dtype=np.float64)
    model = load(tmp_path / "m")
    save(model, tmp_path / "m", dtype=np.float64)
    assert_same(model, GPT2)
    assert_same(load(tmp_path / "m"), GPT2)


# -- types of numbers


def test_float16_is_loaded_as_float32(tmp_path):
    model = decoder(families.GPT2).astype("float16").astype("float32")
    save(model, tmp_path / "m", dtype=np.float16)
    assert next(iter(load_file(tmp_path / "m" / MODEL).values())).dtype == np.float16
    assert_same(load(tmp_path / "m"), model)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    model = decoder(families.GPT2)
    save(model, tmp_path / "m")
    path = tmp_path / "m" / MODEL
    header, data = {}, b""
    for name, x in load_file(path).items():
        raw = (x.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "BF16", "shape": x.shape, "data_offsets": offsets}
        data += raw
    write_parts(path, header, data)
    upper = lambda x: (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert_same(load(tmp_path / "m"), model.map(lambda t: Tensor(upper(t.data))))


# -- folders of others


def test_names_of_the_first_bert_files_are_read(tmp_path):
    save(BERT, tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m" / MODEL
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(path)
    for new, name in old.items():
        tensors = {key.replace(new, name): x for key, x in tensors.items()}
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    tensors["cls.seq_relationship.weight"] = np.ones((2, 8))
    tensors["bert.embeddings.position_ids"] = np.arange(32)[None]
    save_file(tensors, path)
    assert_same(load(tmp_path / "m"), BERT)


def test_names_and_masks_of_old_gpt2_files_are_read(tmp_path):
    save(GPT2, tmp_path / "m", dtype=np.float64)
    path = tmp_path / "m" / MODEL
    bare = {name.removeprefix("transformer."): x for name, x in load_file(path).items()}
    bare |= {f"h.{n}.attn.bias": np.tril(np.ones((1, 1, 9, 9), bool)) for n in range(2)}
    bare |= {"h.0.attn.masked_bias": np.array(-np.inf), "lm_head.weight": bare["wte.weight"]}
    save_file(bare, path)
    assert_same(load(tmp_path / "m"), GPT2)


@pytest.mark.parametrize("model", [GPT2, BERT], ids=["gpt2", "bert"])
def test_shards_are_read_like_one_file(tmp_path, model):
    save(model, tmp_path / "m", dtype=np.float64)
    shard()(tmp_path / "m")
    assert len([*(tmp_path / "m").glob("*.safetensors")]) == 2
    loaded = load(tmp_path / "m")
    assert_same(loaded, model)
    save(loaded, tmp_path / "one")
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"config.json", "model.safetensors"}


def test_the_cache_of_the_hub_is_read(tmp_path):
    """snapshots/REVISION may have links to blobs of the same repository, and to nothing else."""
    save(GPT2, tmp_path / "m", dtype=np.float64)
    snapshot, blobs = tmp_path / "models--a--b/snapshots/0123", tmp_path / "models--a--b/blobs"
    snapshot.mkdir(parents=True)
    (tmp_path / "m").rename(blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert_same(load(snapshot), GPT2)
    (tmp_path / "m").symlink_to(snapshot)
    assert_same(load(tmp_path / "m"), GPT2)
    (tmp_path / "a/b/m").mkdir(parents=True)
    (tmp_path / "a/blobs").mkdir()
    (tmp_path / "a/blobs/config.json").write_bytes((blobs / "config.json").read_bytes())
    (tmp_path / "a/b/m/config.json").symlink_to("../../blobs/config.json")
    with pytest.raises(CheckpointError, match=r"config\.json is a link out of its folder"):
        load(tmp_path / "a/b/m")  # not a cache
    (tmp_path / "blobs").mkdir()
    (blobs / "config.json").rename(tmp_path / "blobs/config.json")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../blobs/config.json")
    with pytest.raises(CheckpointError, match=r"config\.json is a link out of its folder"):
        load(snapshot)
