"""Generation tasks with tokenizers as Llama's: a bos in front, their own eos, a dropped space."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

import minipeft as mp
from minipeft.data.files import DataError
from minipeft.methods.template import IGNORED
from minipeft.tasks.write import Imitate, Write

REFERENCES = [" and so it was hot.", " so it was all fresh.", "ly done"]
SPLITS = {
    "train": [(f"The soup at table {i} was", [REFERENCES[i % 3]]) for i in range(200)],
    "test": [(f"The tea at table {i} was", [REFERENCES[i % 3]]) for i in range(100)],
}
BOS, EOS, OTHER_EOS = 1, 2, 3


@pytest.fixture(scope="module", params=["prepend", "first", "always"])
def tokenizer(request):
    """A tokenizer that puts a space before a text: by its normalizer, or before the first word."""
    tokenizer, scheme = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True)), request.param
    if scheme == "prepend":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    steps = decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>", "<|eot|>", *(f"<0x{i:02X}>" for i in range(256))]
    texts = [text + reference for text, (reference,) in SPLITS["train"]]
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    around = {"single": "<s> $A", "pair": "<s> $A <s> $B", "special_tokens": [("<s>", BOS)]}
    tokenizer.post_processor = processors.TemplateProcessing(**around)
    return tokenizer


@pytest.fixture
def base():
    config = mp.Config(400, 16, layers=1, heads=2, length=64, positions="rotary", norm="rms")
    model = mp.Decoder(config, np.random.default_rng(0))
    model.folder_settings = {"eos_token_id": [EOS, OTHER_EOS]}
    return model


def test_a_text_begins_with_bos_once_and_ends_with_the_models_eos(base, tokenizer):
    task = Write("made", SPLITS, base, tokenizer)
    ids, labels, mask, _ = task.collate(task.examples["train"][:9])
    for row, label, real, (text, (reference,)) in zip(ids, labels, mask, task.splits["train"]):
        assert (row[real] == BOS).nonzero()[0].tolist() == [0]
        assert row[real][-1] == EOS == label[real][-1] and (row[real] == EOS).sum() == 1
        assert tokenizer.decode(row[real].tolist()) == text + reference
        assert tokenizer.decode(row[real & (label == IGNORED)].tolist()) == text


@pytest.mark.parametrize("end", [EOS, OTHER_EOS])
@pytest.mark.parametrize("kind", [Write, Imitate])
def test_tokens_of_the_reference_are_read_as_the_reference(base, tokenizer, monkeypatch, kind, end):
    task = kind("made", SPLITS, base, tokenizer)
    given = {tuple(ids): labels for ids, labels, _ in task.examples["test"]}

    def generate(model, ids, adaptation, *, mask, max_new_tokens, eos, **settings):
        assert [*eos] == [EOS, OTHER_EOS]
        rows = [given[tuple(row[real].tolist())][:-1] for row, real in zip(ids, mask)]
        return np.array([row + [end] * (max_new_tokens - len(row)) for row in rows])

    monkeypatch.setattr("minipeft.tasks.write.generate", generate)
    predictions = task.predict(mp.PLAIN, "test")
    assert predictions == [reference for _, (reference,) in SPLITS["test"]]


def test_a_model_without_an_end_is_refused(base, tokenizer):
    base.folder_settings = {}
    with pytest.raises(DataError, match="no token that ends a text"):
        Write("made", SPLITS, base, tokenizer)


def test_texts_leave_room_for_what_is_generated(base, tokenizer):
    long = [("The soup at table " + "9 " * 90, [REFERENCES[0]])]
    task = Write("made", SPLITS | {"test": long}, base, tokenizer)
    adaptation = task.attach(mp.PrefixTuning(20), np.random.default_rng(0))
    assert len(task.predict(adaptation, "test")) == 1
    model, batches = task.model_and_batches(adaptation, 8, np.random.default_rng(0))
    ids, labels, mask, _ = next(batches)
    assert np.isfinite(float(model.loss(ids, labels, adaptation, mask=mask)))
    assert task.truncated(adaptation) == 1 and task.room(adaptation) == task.room(mp.PLAIN) - 20
