"""1,100 real preferences, which are not part of the project: polite and impolite answers."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.pairs import read_pairs
from minipeft.feedback.comparisons import Comparisons
from minipeft.feedback.dpo import DPO
from tests.support.real import real

NAME = "instruction_preference/instruction-data-with-preference.json"


@pytest.fixture(scope="module")
def pairs():
    return read_pairs(real(NAME))


def test_the_file_has_six_ties_and_prompts_with_inputs(pairs):
    assert len(pairs) == 1094 and len({pair.prompt for pair in pairs}) == 1069
    assert pairs[1].prompt.splitlines() == [
        "Edit the following sentence for grammar.",
        "He go to the park every day.",
    ]


def test_dpo_prefers_the_chosen_answers_to_new_prompts(pairs):
    """The built-in base has read no such text; twenty steps on short pairs teach it this."""
    model, rng = mp.load(), np.random.default_rng(0)
    encode = lambda text: model.tokenizer.encode(text).ids
    rows = [
        (encode(f"{prompt}\n"), [[*encode(answer), 0] for answer in answers], (1, 0))
        for prompt, *answers in sorted(pairs, key=lambda pair: len("".join(pair)))[:400]
    ]
    train = Comparisons(rows[1::2])
    seen = {tuple(prompt) for prompt, *_ in train.rows}
    test = Comparisons([row for row in rows[::2] if tuple(row[0]) not in seen][:100])
    dpo = DPO(model)
    γ = mp.LoRA().attach(dpo, rng)
    trainer = mp.Trainer(dpo, γ, mp.AdamW(γ.parameters(), lr=2e-3))
    trainer.fit(train.batches(8, rng), 20, progress=False)
    chosen, rejected = test.scores(dpo, γ).T
    assert len(chosen) == 100
    assert (chosen - rejected).mean() > 0 and (chosen > rejected).mean() > 0.5
