"""The task `table`: descriptions of records."""

import numpy as np
import pytest

from minipeft.data.text_metrics import bleu
from minipeft.world import table


@pytest.fixture(scope="module")
def splits():
    return table.splits()


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [table.document(rng) for _ in range(3000)]


def test_a_record_as_text_is_read_back(splits):
    for examples in splits.values():
        for text, _ in examples:
            record = table.from_text(text)
            assert table.to_text(record) == text
            assert [*record][:3] == ["name", "kind", "place"] and 5 <= len(record) <= 6


def test_each_of_three_references_has_all_facts_of_the_record(splits):
    for examples in splits.values():
        for text, references in examples:
            assert len(set(references)) == 3
            for reference in references:
                assert reference.startswith(" ") and reference.endswith(".")
                assert reference.count(".") <= 2
                values = (value.lower() for value in table.from_text(text).values())
                assert all(value in reference.lower() for value in values), (text, reference)


def values(texts, *fields):
    """The values of these fields in records as text."""
    records = list(map(table.from_text, texts))
    return {record[field] for record in records for field in fields}


def test_ood_categories_have_records_in_no_other_text(splits, documents):
    known = [text for split in ("train", "dev", "test") for text, _ in splits[split]]
    ood = [text for text, _ in splits["ood"]]
    assert not values(known, "name", "kind") & values(ood, "name", "kind")
    known_fields, ood_fields = (
        {field for text in texts for field in table.from_text(text)} for texts in (known, ood)
    )
    assert ood_fields - known_fields
    assert ood_fields & known_fields - {"name", "kind", "place"}
    records = [text.split(" =")[0] for text in documents if " =" in text]
    assert len(records) > 500 and not values(records, "kind") & values(ood, "kind")
    assert all(kind in " ".join(documents) for kind in values(ood, "kind"))


def test_the_ceiling_is_the_score_of_another_description(splits):
    for split in ("test", "ood"):
        examples = splits[split]
        assert 0.7 < table.ceiling(examples) == table.ceiling(examples) < 0.8
        of_others = [references for _, references in examples[1:] + examples[:1]]
        assert bleu([references[0] for _, references in examples], of_others) < 0.3
