"""Beam search: as a literal search that reads every text anew, and row by row as if alone."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.model.blocks import Mlp

RNG = np.random.default_rng(4)
V, N = 11, 6
MODEL = mp.Decoder(mp.Config(vocabulary=V, width=16, layers=2, heads=2, length=40), RNG)
MODEL = MODEL.map(lambda t: mp.Tensor(t.data.astype(float) + 0.25 * RNG.normal(size=t.shape)))
USERS = [mp.LoRA(2).attach(MODEL, RNG) for _ in range(2)]
for p in (p for user in USERS for p in user.parameters()):
    p.data += 0.3 * RNG.normal(size=p.shape)
PROMPT = mp.PromptTuning(length=3).attach(MODEL, RNG)
PREFIX = mp.Encoded(mp.PrefixTuning(length=4), mlp_width=5).attach(MODEL, RNG)


def log_softmax(z):
    z = z - z.max()
    return z - np.log(np.exp(z).sum())


def literal_search(ids, K, α, eos, γ=None, formula=lambda n, α: n**α):
    """Return the best text of a beam search that ends when K texts have ended."""
    running, finished = [(0.0, [])], []
    for n in range(1, N + 1):
        z = MODEL([ids + new for _, new in running], γ).data[:, -1]
        tried = [
            (score + log_p, [*new, token])
            for (score, new), row in zip(running, z, strict=True)
            for token, log_p in enumerate(log_softmax(row))
        ]
        tried = sorted(tried, reverse=True)[: K * (1 + len(eos))]
        ended = [(s, new) for s, new in tried[:K] if new[-1] in eos or n == N]
        finished = sorted(finished + [(s / formula(n, α), new) for s, new in ended], reverse=True)
        if len(finished := finished[:K]) == K:
            break
        running = [(s, new) for s, new in tried if new[-1] not in eos][:K]
    return finished[0][1]


FORMULAS = {"transformers": lambda n, α: n**α, "gnmt": lambda n, α: ((5 + n) / 6) ** α}


@pytest.mark.parametrize(
    "K, α, formula, γ",
    [
        (2, -0.7, "gnmt", None),
        (3, 1.5, "transformers", None),
        (3, 1.5, "gnmt", PROMPT),
        (3, -0.7, "transformers", USERS[0]),
    ],
)
def test_the_tokens_are_those_of_a_literal_search(K, α, formula, γ):
    ids, eos = ids_of(60, 3)[33:44], [1, 3, 5]
    wanted = [literal_search(row, K, α, eos, γ, FORMULAS[formula]) for row in ids.tolist()]
    how = {"num_beams": K, "length_penalty": α, "length_formula": formula, "eos": eos}
    new = mp.generate(MODEL, ids, γ, max_new_tokens=N, early_stopping=True, **how)
    assert until_end(new, eos) == wanted and new.shape[1] == max(map(len, wanted))
    greedy = mp.generate(MODEL, ids, γ, max_new_tokens=N, eos=eos)
    assert wanted != until_end(greedy, eos)


def until_end(tokens, eos):
    """Return the tokens of each row up to its end."""
    rows = tokens.tolist()
    return [row[: next((i + 1 for i, t in enumerate(row) if t in eos), None)] for row in rows]


def ids_of(B, T):
    return np.random.default_rng(B).integers(0, V, (B, T))


def test_as_many_beams_as_words_find_the_best_pair():
    ids = ids_of(20, 3)
    first = np.array([log_softmax(z) for z in MODEL(ids).data[:, -1]])
    longer = [[*ids[b], i] for b in range(20) for i in range(V)]
    second = np.array([log_softmax(z) for z in MODEL(longer).data[:, -1]])
    pairs = first[..., None] + second.reshape(20, V, V)
    best = pairs.reshape(20, V * V).argmax(1)
    new = mp.generate(MODEL, ids, max_new_tokens=2, num_beams=V)
    np.testing.assert_array_equal(new, np.stack(np.divmod(best, V), 1))
    assert (new != mp.generate(MODEL, ids, max_new_tokens=2)).any()


def test_rows_of_any_length_and_method_are_as_if_alone():
    mask = np.arange(5) >= np.array([0, 3, 1, 2, 4])[:, None]
    ids, each = ids_of(5, 5), [None, PROMPT, *USERS, PREFIX]
    how = {"max_new_tokens": N, "num_beams": 3, "eos": [2], "length_penalty": 2.0}
    together = mp.generate(MODEL, ids, mp.Each(each), mask=mask, **how)
    for new, row, real, γ in zip(together, ids, mask, each, strict=True):
        (alone,) = mp.generate(MODEL, [row[real]], γ, **how)
        np.testing.assert_array_equal(new[: len(alone)], alone)
        assert (new[len(alone) :] == 2).all()


def test_the_users_of_a_bank_have_beams_of_their_own():
    rows, ids, how = [1, 0, 1], ids_of(3, 4), {"max_new_tokens": N, "num_beams": 3}
    bank = mp.stack(USERS)
    each = mp.generate(MODEL, ids, mp.Each([USERS[i] for i in rows]), **how)
    np.testing.assert_array_equal(mp.generate(MODEL, ids, bank.of(rows), **how), each)
    for i, user in enumerate(USERS):
        alone = mp.generate(MODEL, ids[rows.index(i), None], user, **how)
        np.testing.assert_array_equal(each[rows.index(i)], alone[0])


@pytest.fixture
def reads(monkeypatch):
    """The numbers of rows and columns that the first block has read in each pass."""
    shapes, call = [], Mlp.__call__
    first = MODEL.blocks[0].mlp.path
    record = lambda mlp, x, forward: shapes.append(x.shape[:2]) if mlp.path == first else None
    monkeypatch.setattr(Mlp, "__call__", lambda *a: (record(*a), call(*a))[1])
    return shapes


@pytest.mark.parametrize("how", [{}, {"num_beams": 3}])
def test_a_prompt_is_read_once_for_all_rows_and_beams(reads, how):
    mp.generate(MODEL, ids_of(4, 5), PROMPT, max_new_tokens=3, **how)
    rows = 4 * how.get("num_beams", 1)
    assert reads == [(1, 3), (4, 5), (rows, 1), (rows, 1)]


def test_drawn_beams_follow_the_generator_and_the_distribution():
    ids = np.tile(ids_of(1, 3), (3000, 1))
    draw = lambda seed, **how: mp.generate(
        MODEL, ids, max_new_tokens=1, num_beams=2, rng=np.random.default_rng(seed), **how
    )
    np.testing.assert_array_equal(draw(0, temperature=3.0), draw(0, temperature=3.0))
    p = np.exp(log_softmax(MODEL(ids[:1]).data[0, -1] / 3))
    # of two tokens that are drawn without replacement, the likelier is the text
    better = [
        sum(p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for j in range(V) if p[j] < p[i])
        for i in range(V)
    ]
    seen = np.bincount(draw(1, temperature=3.0)[:, 0], minlength=V) / 3000
    assert np.abs(seen - better).max() < 0.05
