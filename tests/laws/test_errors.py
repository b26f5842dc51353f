"""Slips in the use of any method: each is one clear error."""

import numpy as np
import pytest

from minipeft import PLAIN, Chain, Each, LoRA, stack
from tests.support.families import (
    METHODS,
    Doubled,
    attached,
    batch,
    methods,
    networks,
)


@networks
def test_a_mixture_refuses_another_question_of_a_sub_layer(model):
    odd, (ids, _, _) = Doubled(), batch(model, 2)
    odd.targets = r"(^|\.)blocks\.0\.attn$"
    odd = odd.attach(model)
    model(ids, odd)
    with pytest.raises(TypeError, match=r"blocks\.0\.attn attends over the whole batch"):
        model(ids, Each(odd, PLAIN))


@networks
@methods
def test_a_mixture_is_as_long_as_the_batch(model, name):
    adaptation, (ids, _, _) = attached(name, model), batch(model, 3)
    for γ in (
        Each(adaptation),
        Each([adaptation] * 2),
        Each([adaptation, PLAIN, adaptation, PLAIN]),
    ):
        for mix in (γ, Chain(PLAIN, γ)):
            with pytest.raises(
                ValueError, match=f"the batch size {len(γ.parts)}, and here it is 3"
            ):
                model(ids, mix)


@networks
def test_unlike_users_make_no_bank(model):
    one, other = attached("lora", model), attached("prefix of 2", model)
    banks = [stack([one, one]), stack([one, one])]
    for users in ([one, other], [one, attached("lora everywhere", model)], banks):
        with pytest.raises(ValueError, match=r"use Each\(\[\.\.\.\]\)"):
            stack(users)


@networks
@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_a_method_asks_to_be_attached(model, name):
    ids, adaptation = batch(model, 2)[0], METHODS[name]()
    for γ in (
        adaptation,
        lambda: Each(adaptation, PLAIN),
    ):
        with pytest.raises(ValueError, match="not attached"):
            model(ids, γ() if γ is not adaptation else γ)
    for γ in (adaptation, Chain(PLAIN, adaptation)):
        with pytest.raises(ValueError, match="is attached, .* attach that part first"):
            Chain(attached("lora", model), γ)


@networks
def test_a_pattern_that_matches_nothing_lists_the_paths(model):
    with pytest.raises(ValueError, match=r"no layer matches 'c_attn'.*blocks\.N\.attn\.q, "):
        LoRA(targets="c_attn").attach(model, np.random.default_rng(0))
