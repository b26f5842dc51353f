"""minipeft.prompting.harness: log-likelihoods and texts for the lm-evaluation-harness.

Without lm_eval, what needs no harness is tested with stand-ins for its functions; what is left is
compared with HFLM, the harness's own class for models of Hugging Face.
"""

import importlib
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

import minipeft as mp
from tests.support.families import GPT2, nudged
from tests.support.tokenizers import letters

MODULE = "minipeft.prompting.harness"
STAND_INS = {
    "lm_eval": MagicMock(),
    "lm_eval.api": MagicMock(),
    "lm_eval.api.model": SimpleNamespace(TemplateLM=object),
    "lm_eval.models": MagicMock(),
    "lm_eval.models.utils": MagicMock(),
    "lm_eval.utils": MagicMock(),
}
LENGTH = GPT2.length
METHODS = {
    "plain": None,
    "lora": mp.LoRA(rank=2),
    "prompt": mp.PromptTuning(length=3),
    "prefix": mp.PrefixTuning(length=4),
    "pseudo": mp.PseudoTokens("[P]*2 c {x} [P] d", init="uniform"),
}


def request(*args):
    return SimpleNamespace(args=args)


@pytest.fixture
def harness(monkeypatch):
    """The module, with stand-ins for lm_eval."""
    for name, module in STAND_INS.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE)
    del sys.modules[MODULE]


@pytest.fixture(scope="module")
def model():
    """A GPT-2 in float64 whose texts begin with the token 1 and end with 2."""
    model = nudged(mp.Decoder(GPT2, np.random.default_rng(0)))
    model.folder_settings = {"bos_token_id": 1, "eos_token_id": 2}
    return model


def expected(model, γ, layout, context, continuation):
    """-loss of the continuation after the context, and whether each token is the likeliest."""
    *ids, _ = layout(context) + continuation
    n = len(continuation)
    targets = np.array([[-100] * (len(ids) - n) + continuation])
    loss = float(model.loss_at([ids], targets, γ)) * n
    return -loss, model([ids], γ).data[0].argmax(1)[-n:].tolist() == continuation


@pytest.mark.parametrize("name", METHODS)
def test_log_likelihoods_are_losses(harness, model, name):
    rng = np.random.default_rng(1)
    γ = METHODS[name] and METHODS[name].attach(model, rng)
    lm = harness.HarnessLM(model, letters(), γ, batch_size=3)
    ids = lambda n: rng.integers(0, GPT2.vocabulary, n).tolist()
    pairs = [(ids(n), ids(m)) for n, m in [(1, 1), (5, 2), (2, 7), (0, 3), (90, 5), (3, 20)] * 3]
    for context, _ in pairs[:6]:
        room = lm.max_length - 4
        greedy = mp.generate(model, [lm.read(context, room)], γ, max_new_tokens=4, eos=())
        pairs.append((context, greedy[0].tolist()))
    results = lm._loglikelihood_tokens([("", *pair) for pair in pairs])  # batches of three
    for (context, new), (log_p, is_greedy) in zip(pairs, results):
        context = (context or [1])[-(lm.max_length + 1 - len(new)) :]
        want, all_top = expected(model, γ, lm.layout, context, new)
        assert abs(log_p - want) < 1e-9 and is_greedy == all_top
    assert all(is_greedy for _, is_greedy in results[18:22])
    assert not all(is_greedy for _, is_greedy in results[:18])


def test_virtual_tokens_and_the_template_leave_less_room(harness, model):
    lengths = {}
    for name, method in METHODS.items():
        γ = method and method.attach(model, np.random.default_rng(1))
        lengths[name] = LENGTH - harness.HarnessLM(model, letters(), γ).max_length
    assert lengths == {"plain": 0, "lora": 0, "prompt": 3, "prefix": 4, "pseudo": 5}


def test_without_the_harness_the_import_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "lm_eval.api.model", raising=False)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(ImportError, match=r"pip install 'minipeft\[harness\]'"):
        importlib.import_module(MODULE)


def test_what_is_not_supported_is_refused(harness, model):
    lm = harness.HarnessLM(model, letters())
    for new in ([], [3] * (LENGTH + 1)):
        message = f"the continuation of 'x' has {len(new)} tokens, and must have 1 to {LENGTH}"
        with pytest.raises(ValueError, match=message):
            lm._loglikelihood_tokens([("x", [1], new)])
    with pytest.raises(ValueError, match="needs a Decoder or an EncoderDecoder, not a MaskedLM"):
        harness.HarnessLM(mp.load("encoder"), letters())
    nameless = mp.Decoder(GPT2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="set bos_token_id in the model's config.json"):
        harness.HarnessLM(nameless, letters())
