"""HarnessLM has the log-likelihoods and texts of HFLM, the class of the lm-evaluation-harness."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

import datasets
import torch
import transformers
from lm_eval import evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing

import minipeft as mp
from minipeft.prompting.harness import HarnessLM

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and lm_eval
END, LENGTH = "<|endoftext|>", 40
SIZES = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2}


def gpt2(**special):
    config = transformers.GPT2Config(n_positions=LENGTH, n_embd=16, n_layer=2, n_head=4, **special)
    return transformers.GPT2LMHeadModel(config)


def llama(**special):
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(max_position_embeddings=LENGTH, **SIZES, **heads, **special)
    return transformers.LlamaForCausalLM(config)


def t5(**special):
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 20, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(n_positions=LENGTH, decoder_start_token_id=0, **sizes, **special)
    return transformers.T5ForConditionalGeneration(config)


TEMPLATES = {"gpt2": "$A", "llama": f"{END} $A", "t5": f"$A {END}"}  # special tokens of a text


@pytest.fixture(scope="module", params=[gpt2, llama, t5])
def folder(request, base, tmp_path_factory):
    """A folder that transformers wrote: a random model, and a tokenizer of the world's text."""
    tokenizer = mp.load_tokenizer(base)
    end, name = tokenizer.token_to_id(END), request.param.__name__
    single = TEMPLATES[name]
    tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=[(END, end)])
    special = {key: end for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    model = request.param(vocab_size=tokenizer.get_vocab_size(), **special)
    for p in model.parameters():
        p.data += 0.2 * torch.randn_like(p)
    folder = tmp_path_factory.mktemp("harness") / name
    model.save_pretrained(folder)
    names = {"bos_token": END, "eos_token": END, "pad_token": END}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def lms(folder):
    ours = HarnessLM(mp.load(folder), mp.load_tokenizer(folder), batch_size=4)
    return ours, HFLM(pretrained=str(folder), device="cpu", batch_size=1, max_length=LENGTH)


def requests(kind, *arguments):
    return [
        Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)
    ]


LONG = "Mara tried the Blue Heron on Monday. The soup was cold, and so was the waiter. " * 4
CONTEXTS = ["The soup", "The soup ", "All in all  ", "", END + "The soup", LONG, LONG + " ", "x"]


def test_log_likelihoods(lms):
    ours, _ = lms
    pairs = [(context, new) for context in CONTEXTS for new in (" was cold", " cold, so", "s")]
    greedy = ours.generate_until(
        requests("generate_until", *((c, {"max_gen_toks": 3}) for c in CONTEXTS))
    )
    pairs += [(context, new) for context, new in zip(CONTEXTS, greedy)]
    results = [lm.loglikelihood(requests("loglikelihood", *pairs)) for lm in lms]
    for (log_p, is_greedy), (want, all_top) in zip(*results):
        assert abs(log_p - want) < 1e-4 and is_greedy == all_top


def test_rolling_log_likelihoods(lms):
    texts = [("",), ("The soup was cold",), (LONG,), (LONG * 2 + "x",), (END + LONG,)]
    ours, theirs = (
        lm.loglikelihood_rolling(requests("loglikelihood_rolling", *texts)) for lm in lms
    )
    assert np.abs(np.subtract(ours, theirs)).max() < 1e-3


SETTINGS = [
    {"until": ["\n\n"], "max_gen_toks": 8},
    {"until": " th", "max_gen_toks": 12, "do_sample": False, "temperature": 0.0},
    {"until": ["e", END, "C", " "], "max_gen_toks": 12},
    {"max_gen_toks": 9, "repetition_penalty": 1.3},
]


def test_texts(lms):
    ours, theirs = lms
    if ours.backend == "seq2seq":
        pytest.skip("HFLM adds the length of the context to max_gen_toks")
    cases = [
        (context, settings) for context in CONTEXTS[:3] + CONTEXTS[4:6] for settings in SETTINGS
    ]
    mine, want = (lm.generate_until(requests("generate_until", *cases)) for lm in lms)
    assert mine == want and len(set(want)) > 5


@pytest.mark.parametrize("method", [mp.LoRA(rank=2), mp.PromptTuning(length=3)])
def test_adaptations(folder, method, tmp_path):
    pytest.importorskip("peft")
    if folder.name == "t5":
        pytest.skip("two families of models are enough")
    model, rng = mp.load(folder), np.random.default_rng(0)
    γ = method.attach(model, rng).map(lambda p: mp.Tensor(p.data + rng.normal(0, 0.5, p.shape)))
    mp.save(γ.map(lambda p: mp.Tensor(p.data.astype("float32"))), tmp_path / "adaptation")
    ours = HarnessLM(
        model, mp.load_tokenizer(folder), mp.load_adaptation(tmp_path / "adaptation", model)
    )
    theirs = HFLM(
        pretrained=str(folder), peft=str(tmp_path / "adaptation"), device="cpu", batch_size=4
    )
    pairs = [(context, new) for context in CONTEXTS[:5] for new in (" was cold", "s")]
    mine, want = (lm.loglikelihood(requests("loglikelihood", *pairs)) for lm in (ours, theirs))
    frozen = HarnessLM(model, mp.load_tokenizer(folder)).loglikelihood(
        requests("loglikelihood", *pairs)
    )
    assert np.abs(np.array(mine) - np.array(want)).max() < 1e-4
    assert np.abs(np.array(mine) - np.array(frozen)).max() > 0.1


def test_sampling_and_too_long_texts_are_refused(lms):
    ours, _ = lms
    ask = lambda **settings: ours.generate_until(requests("generate_until", ("The soup", settings)))
    with pytest.raises(ValueError, match="do_sample=True is not supported"):
        ask(do_sample=True, temperature=0.7)
    with pytest.raises(TypeError, match="generate has no setting 'typical_p'"):
        ask(max_gen_toks=4, typical_p=0.5)
    if ours.backend == "causal":
        with pytest.raises(ValueError, match=f"max_gen_toks=256 must be less than {LENGTH}"):
            ask()


def test_the_harness_evaluates_a_task(lms, tmp_path, monkeypatch):
    """Accuracy of two answers is that of their log-likelihoods."""
    ours, _ = lms
    if ours.model.config.positions != "learned":
        pytest.skip("one model is enough")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"text": text, "answer": i % 2} for i, text in enumerate(LONG.split(". ")[:6])]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "rows",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": ["cold", "warm"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    tasks = {"rows": ConfigurableTask(config=task)}
    found = evaluate(ours, tasks, bootstrap_iters=0)["results"]["rows"]["acc,none"]
    pairs = [(row["text"], new) for row in rows for new in (" cold", " warm")]
    scores = [log_p for log_p, _ in ours.loglikelihood(requests("loglikelihood", *pairs))]
    right = np.reshape(scores, (-1, 2)).argmax(1) == [row["answer"] for row in rows]
    assert found == right.mean()
