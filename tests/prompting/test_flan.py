"""FLAN's templates become ours; malformed ones are refused by name."""

import json
import re

import pytest

from minipeft.data.files import DataError
from minipeft.prompting.flan import read_templates
from minipeft.prompting.instructions import PromptedTask
from tests.support.real import real

COUNTERPARTS = {  # of the world's tasks
    "sentiment": ["sst2", "imdb_reviews", "yelp_polarity_reviews", "sentiment140"],
    "inference": ["rte", "mnli", "snli", "cb", "anli", "wnli", "qnli"],
    "topic": ["ag_news_subset", "trec"],
    "records": ["e2e_nlg", "dart", "web_nlg_en"],
}


def write(path, patterns):
    path.write_text(json.dumps(patterns))
    return path


def test_a_template_of_flan_reads_as_it_does_there(tmp_path):
    patterns = {
        "rte": [['{premise}\n\nDoes it follow that "{hypothesis}"?\n\n{options_}', "{answer}"]],
        "imdb": [["Write a {answer} review.", "{text}"], ["An example?", "{text}"]],
    }
    prompts = read_templates(write(tmp_path / "flan.json", {"PATTERNS": patterns}))
    example = {"premise": "It rains.", "hypothesis": "It is wet.", "answer": "yes"}
    task = PromptedTask("nli", prompts["rte"], [example], ("yes", "no"))
    filled = prompts["rte"][0].template.segments(
        {name: text for name, text in task.texts(example).items() if name != "answer"}
    )
    assert prompts["rte"][0].template.places["options_"].filters == ("whole",)
    assert "".join(map(str, filled)) == (
        'It rains.\n\nDoes it follow that "It is wet."?\n\nOPTIONS:\n- yes\n- no\n-1'  # the slot
    )
    review = {"text": "I liked it.", "answer": "good"}
    task = PromptedTask("sentiment", prompts["imdb"], [review], ("bad", "good"))
    assert [task.answers(prompt, review) for prompt in task.prompts] == [["I liked it."]] * 2


@pytest.mark.parametrize(
    "patterns, message",
    [
        ([], "must be JSON"),
        ({"PATTERNS": {"rte": 3}}, "must be JSON"),
        ({"PATTERNS": {"rte": [["{x}"]]}}, "template 0 of rte must be an input and its target"),
        ({"PATTERNS": {"rte": [["{x}", "{y}"], ["{x}", ""]]}}, "template 1 of rte must be an inp"),
        ({"PATTERNS": {"rte": [["{x", "{answer}"]]}}, "template 0 of rte: template='{x"),
        ({"PATTERNS": {"rte": [["{x}{x}", "{answer}"]]}}, "template 0 of rte: .* text once"),
        ({"PATTERNS": {"rte": [["{x} [MASK]", "{answer}"]]}}, r"template 0 of rte has \[MASK\]"),
        ({"PATTERNS": {"rte": [["{x}", "yes"]]}}, "template 0 of rte: .* each text once"),
    ],
)
def test_a_malformed_template_is_refused_by_name(patterns, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_templates(write(tmp_path / "flan.json", patterns))


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="must be JSON"):
        read_templates(tmp_path / "none.json")
    (tmp_path / "text").write_text("{premise}")
    with pytest.raises(DataError, match="must be JSON"):
        read_templates(tmp_path / "text")


def test_the_real_templates_of_tasks_with_a_counterpart_convert():
    path = real("flan_templates/flan2021_templates.json")
    prompts, patterns = read_templates(path), json.loads(path.read_text())["PATTERNS"]
    assert len(prompts) == 61 and all(len(each) == 10 for each in prompts.values())
    for name in sum(COUNTERPARTS.values(), []):
        for (template, target), (source, wanted) in zip(prompts[name], patterns[name]):
            plain = template.text.removesuffix("\n[MASK]").replace("|whole}", "}")
            assert (plain, target.text) == (source.strip(), wanted.strip())
            assert {*template.names} == {*re.findall(r"\{(\w+)\}", source)}
