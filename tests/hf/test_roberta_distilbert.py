"""RoBERTa and DistilBERT: the tensors of their folders, and heads with a layer of their own."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.hf import CheckpointError
from minipeft.hf.models import family_of
from minipeft.model.heads import has_pooler
from tests.support import families
from tests.support.families import C, V, attach_random, encoder, nudged
from tests.support.folder_edits import MODEL, TENSORS, set_fields
from tests.support.folders import IDS, MASK, assert_same, logits, read_config, write_adaptation

LMS = {
    "roberta": nudged(encoder(families.ROBERTA)),
    "distilbert": nudged(encoder(families.DISTILBERT)),
}
HEADS = {
    "Model": lambda lm: mp.Encoder(lm.config, np.random.default_rng(0)),
    "ForMaskedLM": lambda lm: lm,
    "ForSequenceClassification": lambda lm: mp.Classifier(lm, C, "cls", bias=True),
    "ForTokenClassification": lambda lm: mp.TokenClassifier(lm, C, bias=True),
    "ForQuestionAnswering": lambda lm: mp.SpanClassifier(lm),
}
OF_HEADS = {  # names of the tensors that are not in the trunk
    ("roberta", "ForMaskedLM"): "lm_head.bias lm_head.dense.* lm_head.layer_norm.*",
    ("distilbert", "ForMaskedLM"): "vocab_projector.bias vocab_transform.* vocab_layer_norm.*",
    ("roberta", "ForSequenceClassification"): "classifier.dense.* classifier.out_proj.*",
    ("distilbert", "ForSequenceClassification"): "pre_classifier.* classifier.*",
    ("roberta", "ForTokenClassification"): "classifier.*",
    ("distilbert", "ForTokenClassification"): "classifier.*",
    ("roberta", "ForQuestionAnswering"): "qa_outputs.*",
    ("distilbert", "ForQuestionAnswering"): "qa_outputs.*",
}
POOLERS = {"roberta": "classifier.dense", "distilbert": "pre_classifier"}
OUTPUTS = {"roberta": "classifier.out_proj", "distilbert": "classifier"}
QUERIES = {
    "roberta": "roberta.encoder.layer.{}.attention.self.query",
    "distilbert": "distilbert.transformer.layer.{}.attention.q_lin",
}
every_family = pytest.mark.parametrize("name", LMS)


def classifier(name, bias=True):
    return nudged(mp.Classifier(LMS[name], C, "cls", bias))


@every_family
@pytest.mark.parametrize("head", HEADS)
def test_a_model_is_loaded_as_it_was(tmp_path, name, head):
    model = nudged(HEADS[head](LMS[name]))
    mp.save(model, tmp_path / "m", dtype=np.float64)
    settings = json.loads((tmp_path / "m/config.json").read_text())
    (architecture,) = settings["architectures"]
    assert architecture.lower() == name + head.lower() and settings["model_type"] == name
    heads = [n for n in load_file(tmp_path / "m" / MODEL) if not n.startswith((name, "embed"))]
    heads = {n for n in heads if not n.startswith(("encoder.", "transformer."))}
    both = lambda n: [n.replace("*", x) for x in ("weight", "bias")]
    assert heads == {x for n in OF_HEADS.get((name, head), "").split() for x in both(n)}
    loaded = mp.load(tmp_path / "m")
    assert type(loaded) is type(model) and loaded.config == model.config
    assert_same(loaded, model)
    assert np.allclose(logits(loaded), logits(model), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model_type", ["xlm-roberta", "camembert"])
@pytest.mark.parametrize("head", HEADS)
def test_a_folder_keeps_its_model_type(tmp_path, model_type, head):
    mp.save(HEADS[head](LMS["roberta"]), tmp_path / "m")
    set_fields("config.json", model_type=model_type)(tmp_path / "m")
    mp.save(mp.load(tmp_path / "m"), tmp_path / "again")
    settings = json.loads((tmp_path / "again/config.json").read_text())
    prefix = {"xlm-roberta": "XLMRoberta", "camembert": "Camembert"}[model_type]
    assert settings["model_type"] == model_type
    assert settings["architectures"] == [prefix + head]


def test_the_families_of_encoders_are_told_apart():
    names = {c: family_of(c).name for c in (families.BERT, families.ROBERTA, families.DISTILBERT)}
    assert [*names.values()] == ["BERT", "RoBERTa", "DistilBERT"]
    odd = replace(families.DISTILBERT, eps=1e-5)
    with pytest.raises(CheckpointError, match=r"DistilBERT has eps=1e-12, not 1e-05"):
        mp.save(encoder(odd), "x")
    with pytest.raises(CheckpointError, match="RoBERTa has position_offset=at least 1, not 0"):
        family_of(odd)


def test_a_pooler_that_no_head_reads_is_ignored(tmp_path):
    """Older files of a RoBERTa or BERT with a head have one; a RoBERTa without a head, too."""
    for model in (nudged(HEADS[h](LMS["roberta"])) for h in [*HEADS][2:]):
        mp.save(model, tmp_path / "m", dtype=np.float64)
        tensors = load_file(tmp_path / "m" / MODEL)
        extra = {"roberta.pooler.dense.weight": np.ones((8, 8)), "roberta.pooler.dense.bias": [1.0]}
        save_file(tensors | {n: np.array(x) for n, x in extra.items()}, tmp_path / "m" / MODEL)
        assert_same(mp.load(tmp_path / "m"), model)
    mp.save(HEADS["Model"](LMS["roberta"]), tmp_path / "m")
    tensors = load_file(tmp_path / "m" / MODEL)
    pooler = {"pooler.dense.weight": np.eye(8, dtype="f4"), "pooler.dense.bias": np.ones(8, "f4")}
    save_file(tensors | pooler, tmp_path / "m" / MODEL)
    model = mp.load(tmp_path / "m")
    assert has_pooler(model) and np.array_equal(model.pooler.b.data, np.ones(8))
    mp.save(model, tmp_path / "again")
    assert {*load_file(tmp_path / "again" / MODEL)} == {*tensors} | {*pooler}


# -- positions and token types


@every_family
def test_padding_changes_nothing(name):
    model = LMS[name]
    for i, real in enumerate(MASK):
        alone = model(IDS[i : i + 1, real]).data[0]
        assert np.abs(logits(model)[i, real] - alone).max() < 1e-12


@every_family
def test_a_text_may_be_as_long_as_the_table_has_positions(name):
    ids = np.ones((1, 33), int)
    assert LMS[name](ids[:, :32]).shape == (1, 32, V)
    with pytest.raises(ValueError, match="need 33 positions, and the model has 32"):
        LMS[name](ids)


# -- the layer of a head


@every_family
def test_a_new_head_has_a_new_layer(name):
    model = mp.Classifier(LMS[name], C, "cls")
    assert not has_pooler(LMS[name]) and np.array_equal(model.pooler.W.data, np.eye(8))
    σ = {"roberta": np.tanh, "distilbert": lambda x: np.maximum(x, 0)}[name]
    first = LMS[name].states(IDS, mask=MASK)[0].data[np.arange(4), MASK.argmax(1)]
    assert np.allclose(model.features(IDS, mask=MASK)[0].data[:, 0], σ(first))
    again = mp.Classifier(classifier(name), C, "cls")  # a layer that is there is kept
    assert np.array_equal(again.pooler.W.data, classifier(name).pooler.W.data)


def test_bert_without_its_pooler_gets_no_new_one():
    bert = nudged(encoder(families.BERT))
    del bert.pooler
    for model in (bert, mp.Classifier(bert, C, "mean")):
        with pytest.raises(ValueError, match="needs an encoder with a pooler; use 'first'"):
            mp.Classifier(model, C, "cls")


def peft_arrays(name):
    """Return what PEFT writes of a LoRA for a text classifier: it trains the head in full."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape)
    arrays = {}
    for n in range(2):
        query = f"base_model.model.{QUERIES[name].format(n)}"
        arrays |= {f"{query}.lora_A.weight": draw(2, 8), f"{query}.lora_B.weight": draw(8, 2)}
    pooler, output = (f"base_model.model.{of[name]}" for of in (POOLERS, OUTPUTS))
    arrays |= {f"{pooler}.weight": draw(8, 8), f"{pooler}.bias": draw(8)}
    return arrays | {f"{output}.weight": draw(C, 8), f"{output}.bias": draw(C)}


@every_family
def test_the_head_that_peft_trains_is_read_and_written(tmp_path, name):
    arrays, query = peft_arrays(name), QUERIES[name].rpartition(".")[2]
    config = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "target_modules": [query]}
    model = classifier(name)
    γ = mp.load_adaptation(write_adaptation(tmp_path / "a", config, arrays), model)
    lora, layer, probe = γ.leaves()
    assert isinstance(lora.method, mp.LoRA) and type(probe.method) is mp.Probe
    assert type(layer.method) is mp.FullFineTuning and [*layer.at] == ["pooler"]
    weight = arrays[f"base_model.model.{POOLERS[name]}.weight"]
    assert np.array_equal(layer.at["pooler"]["W"].data, weight.T)
    mp.save(γ, tmp_path / "again", dtype=np.float64)
    saved = load_file(tmp_path / "again" / TENSORS)
    assert {*saved} == {*arrays} and all(np.array_equal(saved[n], arrays[n]) for n in saved)
    whole = {"roberta": {"classifier"}, "distilbert": {"pre_classifier", "classifier"}}
    assert {*read_config(tmp_path / "again")["modules_to_save"]} == whole[name]
    assert_same(mp.load_adaptation(tmp_path / "again", model), γ)
    hint = r"load it with Classifier\(model, 3, pool='cls', bias=True\)"
    with pytest.raises(CheckpointError, match=hint):
        mp.load_adaptation(tmp_path / "a", LMS[name])


@every_family
def test_peft_has_no_format_for_a_part_of_a_head(tmp_path, name):
    model, layer = classifier(name), mp.FullFineTuning("^pooler$")
    for parts in ([mp.LoRA(2)], [mp.PromptTuning(2)], [mp.LoRA(2, targets="^pooler$"), layer]):
        γ = attach_random(mp.Chain(*parts, mp.Probe()), model)
        mp.save(γ, tmp_path / "a", dtype=np.float64)
        assert read_config(tmp_path / "a")["peft_type"] == "MINIPEFT_CHAIN"
        assert_same(mp.load_adaptation(tmp_path / "a", model), γ)
    alone = attach_random(mp.LoRA(2, targets="^pooler$"), model)
    mp.save(alone, tmp_path / "b", dtype=np.float64)
    assert read_config(tmp_path / "b")["target_modules"] == [POOLERS[name]]
    assert_same(mp.load_adaptation(tmp_path / "b", model), alone)
