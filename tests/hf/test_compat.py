"""PeftModel, which compat="peft" gives: saving, generation, users in one batch, banks."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.hf import PeftModel
from tests.support.families import BERT, GPT2, LLAMA, C, T, V, decoder, encoder, nudged
from tests.support.folder_edits import ADAPTER, set_fields

NV = 4
MODEL, WINDOWED = nudged(decoder(GPT2)), nudged(decoder(LLAMA))
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, V, (3, T))
LEFT = np.hstack([IDS[:, :2] * 0, IDS])
MASK = np.repeat([[0, 0] + [1] * T], 3, 0)


def random_adaptation(method, model):
    γ = method.attach(model, RNG)
    for p in γ.parameters():
        p.data = p.data + 0.3 * RNG.normal(size=p.shape)
    return γ


def distance(a, b):
    return np.abs(a - b).max()


@pytest.mark.parametrize("method", [mp.DoRA(2), mp.PromptTuning(NV)], ids=repr)
def test_a_peft_model_is_saved_as_it_was_loaded(tmp_path, method):
    γ = random_adaptation(method, MODEL)
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    mp.save(mp.load_adaptation(tmp_path / "a", MODEL, compat="peft"), tmp_path / "b", dtype="f8")
    again = mp.load_adaptation(tmp_path / "b", MODEL)
    assert again.method == γ.method
    assert np.array_equal(MODEL(IDS, again).data, MODEL(IDS, γ).data)


@pytest.mark.parametrize("method", [mp.PromptTuning(NV), mp.PrefixTuning(NV), mp.LoRA(2)], ids=repr)
@pytest.mark.parametrize("model", [MODEL, WINDOWED], ids=["gpt2", "llama with a window"])
def test_generation_with_a_cache_is_generation_without(method, model):
    peft_model = PeftModel(model, random_adaptation(method, model))
    new = peft_model.generate(LEFT, mask=MASK, max_new_tokens=8)
    ids, mask = LEFT, MASK
    for _ in range(8):
        token = peft_model(ids, mask=mask).data[:, -1].argmax(-1)[:, None]
        ids, mask = np.hstack([ids, token]), np.hstack([mask, np.ones_like(token)])
    assert np.array_equal(new, ids[:, -8:])


def test_every_row_may_have_an_adaptation_of_its_own():
    first, second = (random_adaptation(mp.PromptTuning(NV), MODEL) for _ in range(2))
    users = [first, second, first]
    z = PeftModel(MODEL, mp.Each(users))(LEFT, mask=MASK).data
    for i, γ in enumerate(users):
        alone = PeftModel(MODEL, γ)(LEFT[i : i + 1], mask=MASK[i : i + 1]).data[0]
        assert distance(z[i], alone) < 1e-12


def test_texts_of_users_are_classified_in_one_batch():
    model = nudged(mp.Classifier(MODEL, C))
    method = mp.Chain(mp.LoRA(2), mp.Probe())
    first, second = (random_adaptation(method, model) for _ in range(2))
    mask, users = np.arange(T) < [[3], [T], [5]], [first, second, first]
    z = PeftModel(model, mp.Each(users))(IDS, mask=mask).data
    for i, γ in enumerate(users):
        alone = PeftModel(model, γ)(IDS[i : i + 1], mask=mask[i : i + 1]).data[0]
        assert distance(z[i], alone) < 1e-12


def test_the_tasks_of_a_bank_are_chosen_by_row():
    γ = random_adaptation(mp.MultitaskPrompt(NV, tasks=3, rank=2), MODEL)
    z = PeftModel(MODEL, γ).of([2, 0, 2])(LEFT, mask=MASK).data
    alone = PeftModel(MODEL, γ).of([0])(LEFT[1:2], mask=MASK[1:2]).data[0]
    assert distance(z[1], alone) < 1e-12 and distance(z[0], alone) > 1e-3
    with pytest.raises(ValueError, match="bank of 3 users"):
        PeftModel(MODEL, γ)(LEFT[:2], mask=MASK[:2])


def test_a_prompt_in_a_chain_is_part_of_the_text():
    lora, prompt = (random_adaptation(m, MODEL) for m in (mp.LoRA(2), mp.PromptTuning(NV)))
    z = PeftModel(MODEL, mp.Chain(prompt, lora))(LEFT, mask=MASK).data
    merged = mp.merge(MODEL, lora)
    other = PeftModel(merged, prompt.method.bind(prompt.at, merged))(LEFT, mask=MASK).data
    assert z.shape[1] == NV + T + 2 and distance(z, other) < 1e-12
    assert distance(z, PeftModel(MODEL, prompt)(LEFT, mask=MASK).data) > 1e-2


def test_a_reparametrised_prompt_is_computed_before_it_is_read():
    encoded = random_adaptation(mp.Encoded(mp.PromptTuning(NV), mlp_width=6), MODEL)
    folded = PeftModel(MODEL, mp.fold(encoded))(LEFT, mask=MASK).data
    assert distance(PeftModel(MODEL, encoded)(LEFT, mask=MASK).data, folded) < 1e-12


def test_a_prompt_cannot_be_combined_with_a_prefix():
    """PEFT has no adaptation with both."""
    both = random_adaptation(mp.Chain(mp.PromptTuning(NV), mp.PrefixTuning(2)), MODEL)
    with pytest.raises(ValueError, match="a prompt and a prefix"):
        PeftModel(MODEL, both)(IDS)


def test_the_loss_trains_a_prompt():
    peft_model = PeftModel(MODEL, random_adaptation(mp.PromptTuning(NV), MODEL))
    before, (P,) = peft_model.loss(IDS, IDS), peft_model.parameters()
    (g,) = mp.grad(before, [P])
    P.data = P.data - 1e-3 * g
    assert peft_model.loss(IDS, IDS).data < before.data


@pytest.mark.parametrize("task", [None, "QUESTION_ANS", "TOKEN_CLS"])
def test_the_task_type_decides_whether_token_types_are_read(tmp_path, task):
    """As in PEFT, not the network: without a task type, its model drops nothing."""
    model = nudged(mp.SpanClassifier(encoder(BERT)))
    mp.save(random_adaptation(mp.Chain(mp.LoRA(2), mp.Probe()), model), tmp_path / "a")
    settings = {"modules_to_save": ["qa_outputs"], "task_type": task}
    set_fields(ADAPTER, **settings)(tmp_path / "a")
    peft_model = mp.load_adaptation(tmp_path / "a", model, compat="peft")
    z, other = peft_model(IDS).data, peft_model(IDS, token_types=IDS % 2).data
    assert np.array_equal(z, other) == (task == "QUESTION_ANS")


@pytest.mark.parametrize("method", [mp.LoRA(2), mp.PromptTuning(NV), mp.PrefixTuning(NV)], ids=repr)
def test_a_classifier_reads_token_types(method):
    model = nudged(mp.Classifier(encoder(BERT), C, "cls"))
    γ = random_adaptation(mp.Chain(method, mp.Probe()), model)
    z = [
        PeftModel(model, γ, "SEQ_CLS")(IDS, token_types=types).data for types in (IDS * 0, IDS % 2)
    ]
    assert distance(*z) > 1e-3


def test_task_types_of_rows_are_those_of_the_bank():
    γ = random_adaptation(mp.MultitaskPrompt(NV, tasks=3, rank=2), MODEL)
    assert PeftModel(MODEL, γ, "CAUSAL_LM").of([0, 1]).task_type == "CAUSAL_LM"


def test_an_adaptation_of_another_model_is_refused():
    with pytest.raises(ValueError, match="was made for"):
        PeftModel(WINDOWED, random_adaptation(mp.LoRA(2), MODEL))
