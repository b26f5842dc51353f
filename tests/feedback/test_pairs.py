"""Files of preferences, and batches of ranked answers."""

import json

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.files import DataError
from minipeft.data.pairs import Pair, read_pairs
from minipeft.feedback.comparisons import Comparisons
from minipeft.feedback.dpo import DPO
from minipeft.feedback.ranking import RewardModel

PAIRS = [Pair("Name a colour.", "Blue, please.", "Blue!"), Pair("Add.\n1, 2", "3", "four")]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_prompts_in_json_and_csv(tmp_path):
    rows = [pair._asdict() for pair in PAIRS]
    assert read_pairs(write(tmp_path / "a.json", json.dumps(rows))) == PAIRS
    lines = ["chosen,rejected,prompt", '"Blue, please.",Blue!,Name a colour.']
    assert read_pairs(write(tmp_path / "a.csv", "\n".join(lines))) == PAIRS[:1]


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_input_follows_its_instruction_unless_it_is_empty(tmp_path, empty):
    rows = [
        {"instruction": "Name a colour.", "input": empty, "output": "Red."},
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
    ]
    for row, pair in zip(rows, PAIRS):
        row |= {"chosen": pair.chosen, "rejected": pair.rejected}
    assert read_pairs(write(tmp_path / "a.json", json.dumps(rows))) == PAIRS


def test_two_equal_answers_are_no_pair(tmp_path):
    text = "prompt,chosen,rejected\nAdd.,3,3\nAdd.,3,four\n"
    assert read_pairs(write(tmp_path / "a.csv", text)) == [Pair("Add.", "3", "four")]


@pytest.mark.parametrize(
    "text, message",
    [
        ("prompt,chosen\nx,y\n", r"a.csv:2: no column 'rejected'.*columns: prompt, chosen$"),
        ("text,chosen,rejected\nx,y,z\n", r"a.csv:2: no column 'prompt': .*instruction and input"),
        ("prompt,chosen,rejected\nx,y,z\nx,,z\n", "a.csv:3: no value for the column 'chosen'"),
        ("prompt,chosen,rejected\n ,y,z\n", "a.csv:2: no value for the column 'prompt'"),
        ("prompt,chosen,rejected\nx,y,y\n", "a.csv: .* are equal in every row"),
        ("prompt,chosen,rejected\n", "a.csv: the file has no examples"),
    ],
)
def test_errors_name_the_line_and_the_column(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_pairs(write(tmp_path / "a.csv", text))


def test_a_conversation_is_no_text(tmp_path):
    row = {"prompt": "x", "chosen": [{"role": "user", "content": "y"}], "rejected": "z"}
    with pytest.raises(DataError, match="a.jsonl:1: 'chosen' must be a text"):
        read_pairs(write(tmp_path / "a.jsonl", json.dumps(row)))


# -- batches

ROWS = [([5, 6], [[7, 1], [8, 9, 1]], (1, 0)), ([5], [[1], [1]], (0, 2))]


def model():
    config = mp.Config(vocabulary=12, width=8, layers=1, heads=2, length=16)
    return mp.Decoder(config, np.random.default_rng(0))


def test_a_batch_has_each_prompt_with_each_of_its_answers():
    ids, ranks, mask = Comparisons(ROWS).collate(ROWS)
    assert ids[mask].tolist() == [5, 6, 7, 1, 5, 6, 8, 9, 1, 5, 1, 5, 1]
    assert ids.shape == mask.shape == (2, 2, 5) and ranks.tolist() == [[1, 0], [0, 2]]
    assert mask.sum(2).tolist() == [[4, 5], [2, 2]]


@pytest.mark.parametrize(
    "row, message",
    [
        (([], [[7], [8]], (1, 0)), "empty"),
        (([5], [[7], []], (1, 0)), "empty"),
        (([5], [[7], [8], [9]], (1, 0)), r"\[2, 3\] answers or ranks"),
        (([5], [[7], [8], [9]], (1, 0, 2)), r"\[2, 3\] answers or ranks"),
    ],
)
def test_rows_that_are_no_batch_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        Comparisons(ROWS).collate([*ROWS, row])


@pytest.mark.parametrize("network, method", [(RewardModel, mp.Probe()), (DPO, mp.LoRA(rank=2))])
def test_scores_are_in_the_order_of_the_rows(network, method):
    network, rng = network(model()), np.random.default_rng(0)
    γ = method.attach(network, rng)
    for p in γ.parameters():
        p.data[...] = rng.normal(size=p.data.shape)
    scores = Comparisons(ROWS).scores(network, γ)
    for row, expected in zip(ROWS, scores):
        ids, _, mask = Comparisons(ROWS).collate([row])
        np.testing.assert_allclose(network.scores(ids, γ, mask=mask).data[0], expected, atol=1e-5)
    assert scores[1, 0] == scores[1, 1] and scores[0, 0] != scores[0, 1]


def test_training_on_pairs_ranks_them():
    network, rng = DPO(model()), np.random.default_rng(0)
    γ = mp.LoRA(rank=2).attach(network, rng)
    pairs = Comparisons(ROWS[:1])
    trainer = mp.Trainer(network, γ, mp.AdamW(γ.parameters(), lr=1e-2))
    trainer.fit(pairs.batches(1, rng), 20, progress=False)
    ((chosen, rejected),) = pairs.scores(network, γ)
    assert chosen > 0 > rejected
