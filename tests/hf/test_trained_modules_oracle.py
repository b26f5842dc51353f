"""PEFT's files of modules that it trains in full or writes beside others, and names of modules."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
from safetensors.numpy import load_file

import minipeft as mp
from minipeft.hf.models import family_of
from minipeft.hf.peft.naming import PeftNames
from minipeft.storage.json import Settings
from tests.support.oracles.make import add_noise, auto_class, logits_of, random_model
from tests.support.oracles.table import FAMILIES, TASKS, V, possible

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
IDS = np.random.default_rng(0).integers(1, V, (3, 7))
LM, MLM, CLS = "CAUSAL_LM", "MASKED_LM", "SEQ_CLS"
lora = lambda *targets, **more: peft.LoraConfig(
    r=3, lora_alpha=5, **more, target_modules=[*targets] or None
)
pattern = lambda targets, **more: peft.LoraConfig(r=3, target_modules=targets, **more)
saving = lambda *names, **more: lora(**more, modules_to_save=[*names])
EMBEDDINGS, WHOLE = ["embed_tokens", "lm_head"], {"save_embedding_layers": True}
CASES = {  # family, task, configuration; other arguments of save_pretrained
    "biases of an mlp": ("gpt2", LM, saving("mlp", bias="all")),
    "biases of a pooler": ("bert", CLS, saving("pooler", bias="all", task_type=CLS)),
    "a head without a task": ("bert", CLS, saving("classifier", bias="all")),
    "embeddings": ("gpt2", LM, lora(), WHOLE),
    "embeddings of an encoder": ("bert", MLM, lora(), WHOLE),
    "embeddings and biases": ("bert", MLM, lora(bias="all"), WHOLE),
    "trained embeddings": ("llama", LM, saving(*EMBEDDINGS), WHOLE),
    "trained tied embeddings": ("qwen2", LM, saving(*EMBEDDINGS), WHOLE),
    "one of two tied modules": ("qwen2", LM, saving("embed_tokens"), WHOLE),
    "weights that are tied": ("qwen2", LM, saving("embed_tokens", ensure_weight_tying=True)),
    "adapted embeddings": ("llama", LM, lora("embed_tokens", "q_proj")),
    "adapted tied embeddings": ("qwen2", LM, lora(*EMBEDDINGS, "q_proj")),
    "an adapted tied head": ("gpt2", LM, lora("lm_head", "c_attn", use_dora=True)),
    "a word head": ("bert", MLM, saving("cls")),
    "a word head and biases": ("bert", MLM, saving("predictions", bias="all")),
    "a decoder": ("bert", MLM, saving("decoder")),
    "a decoder and biases": ("bert", MLM, saving("decoder", bias="all")),
    "a transform": ("bert", MLM, saving("transform")),
    "an adapted decoder": ("bert", MLM, lora("decoder", "query", bias="all")),
    "its own bias": ("bert", MLM, lora("decoder", "query", bias="lora_only")),
    "an adapted transform": ("bert", MLM, lora("transform.dense", "decoder", use_dora=True)),
    "ia3 of a decoder": ("bert", MLM, peft.IA3Config(target_modules=["decoder"])),
    "norms and a decoder": (
        "bert",
        MLM,
        peft.LNTuningConfig(target_modules=["LayerNorm"], modules_to_save=["decoder"]),
    ),
    "a pooler beside a prefix": (
        "bert",
        CLS,
        peft.PrefixTuningConfig(num_virtual_tokens=3, task_type=CLS, modules_to_save=["pooler"]),
    ),
    "a full name and a layer": (
        "gpt2",
        LM,
        lora("transformer.h.0.attn.c_attn", "c_fc", layers_to_transform=[1]),
    ),
    "a head and a layer": ("llama", LM, lora("lm_head", "q_proj", layers_to_transform=1)),
    "a pattern of a head": ("gpt2", LM, pattern(r"lm_head|transformer\.h\.0\.attn\.c_attn")),
    "a pattern of no trunk": ("bert", MLM, pattern(r"cls\..*\.(dense|decoder)")),
    "a pattern of spans": ("llama", "QUESTION_ANS", pattern(r"transformer\.layers\.0.*q_proj")),
    "all linear layers, the head too": ("llama", CLS, pattern("all-linear")),
}


def logits(network):
    with torch.no_grad():
        out = network.eval()(input_ids=torch.tensor(IDS))
    return logits_of(out, "QUESTION_ANS" if "start_logits" in out else LM).numpy()


def distance(a, b):
    return np.abs(a - b).max() / max(1, np.abs(b).max() / 10)


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_peft_is_read_and_written(tmp_path, name):
    family, task, config, *more = CASES[name]
    torch.manual_seed(0)
    random_model(family, task).save_pretrained(tmp_path / "base")
    load = lambda: auto_class(task).from_pretrained(tmp_path / "base", attn_implementation="eager")
    network = add_noise(peft.get_peft_model(load(), config))
    network.save_pretrained(tmp_path / "a", **dict(*more))
    z, model = logits(network), mp.load(tmp_path / "base")
    peft_model = mp.load_adaptation(tmp_path / "a", model, compat="peft")
    assert distance(peft_model(IDS).data, z) < 1e-4
    mp.save(peft_model, tmp_path / "b")
    again = peft.PeftModel.from_pretrained(load(), tmp_path / "b")
    assert distance(logits(again), z) < 1e-4
    assert distance(logits(load()), z) > 1e-2


@pytest.mark.parametrize("family, target", [("llama", "q_proj"), ("qwen2", "embed_tokens")])
def test_a_resized_vocabulary_is_read(tmp_path, family, target):
    """The rows that resizing adds are random, so the file's replace those of the resized base."""

    def resized(seed):
        torch.manual_seed(seed)
        network = auto_class(LM).from_pretrained(tmp_path / "base", attn_implementation="eager")
        network.resize_token_embeddings(V + 3)
        return network

    random_model(family, LM).save_pretrained(tmp_path / "base")
    names = [name for name in EMBEDDINGS if target == "q_proj"]
    network = add_noise(peft.get_peft_model(resized(1), lora(target, modules_to_save=names)))
    network.save_pretrained(tmp_path / "a")
    assert any(
        "embed_tokens" in name for name in load_file(tmp_path / "a/adapter_model.safetensors")
    )
    resized(2).save_pretrained(tmp_path / "resized")
    model = mp.load(tmp_path / "resized")
    γ = mp.load_adaptation(tmp_path / "a", model)
    assert distance(model(IDS, γ).data, logits(network)) < 1e-4


NETWORKS = [(f, t) for f in FAMILIES for t in TASKS if possible(f, t)]


@pytest.mark.parametrize("family, task", NETWORKS)
def test_names_of_modules_are_those_of_transformers(tmp_path, family, task):
    network = random_model(family, task)
    network.save_pretrained(tmp_path / "base")
    model = mp.load(tmp_path / "base")
    names = PeftNames(model, family_of(model.config), Settings({}, "settings"))
    ours = [names.full_name(module) for module in names.modules]
    with_tensors = {n for n, m in network.named_modules() if [*m.parameters(recurse=False)]}
    of_bias = {"cls.predictions", "lm_head"} if task == MLM else set()  # it has the decoder's bias
    assert {*ours} == with_tensors - of_bias
    assert len(ours) == len({*ours})
