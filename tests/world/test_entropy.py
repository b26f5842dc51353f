"""How predictable the text is: by counts, by the base, by the grammar."""

import numpy as np

from minipeft.world import entropy
from minipeft.world.domains import DOMAINS
from minipeft.world.language import document


def test_the_grammar_sums_the_surprise_of_its_choices():
    pairs = [entropy.document_and_surprise(np.random.default_rng(i)) for i in range(200)]
    assert [text for text, _ in pairs] == [document(np.random.default_rng(i)) for i in range(200)]
    nats = [n for _, n in pairs]
    assert min(nats) > np.log(len(DOMAINS) * 2) and 20 < np.mean(nats) < 32


def test_the_base_predicts_better_than_counts_and_no_better_than_the_grammar(capsys, monkeypatch):
    monkeypatch.setattr(entropy, "DOCUMENTS", 3000)
    monkeypatch.setattr(entropy, "HELD_OUT", 100)
    entropy.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    unigrams, bigrams, base = (list(map(float, row[-2:])) for row in rows[:3])
    assert unigrams > bigrams > base and unigrams[1] > bigrams[1] > base[1]
    assert float(rows[3][2]) < base[1]
