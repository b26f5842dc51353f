"""Methods of the reader's own: saved as MINIPEFT_CUSTOM, and loaded with methods=[…]."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import minipeft as mp
from minipeft.hf import CheckpointError
from minipeft.methods import Reparametrised
from tests.support.families import GPT2, T, V, decoder, nudged

MODEL = nudged(decoder(GPT2))
IDS = np.random.default_rng(0).integers(0, V, (2, T))


@dataclass(frozen=True)
class Diagonal(mp.Method):
    """y + d ⊙ x W"""

    scale: float = 1.0
    blocks: tuple = ()
    words: tuple = ()  # of minipeft's methods these are token ids
    targets: str = r"attn\.o$"

    def start(self, layer, rng):
        return {"d": rng.normal(0, 0.1, (1, layer.shape[1]))}

    def apply(self, layer, x, d):
        y = layer(x)
        return y + self.scale * d * y


@dataclass(frozen=True)
class Rows(mp.Method):
    """Virtual tokens whose parameter has the old name of one of minipeft's."""

    length: int = 2
    targets: str = r"^tokens$"

    def start(self, layer, rng):
        return {"P_k": rng.standard_normal((self.length, layer.shape[1]))}

    def prepend(self, layer, P_k):
        return [P_k]


@dataclass(frozen=True)
class Scaled(Reparametrised):
    """Rows of another method, times one number for each column."""

    method: mp.Method

    def network(self, k, D, O, rng):
        return {"E": rng.uniform(low=-1, high=1, size=(k, O)), "s": np.ones((1, O))}

    def encode(self, E, s):
        return E * s


class Shift(mp.Method):
    """A class without fields: y + b"""

    targets = r"mlp\.up$"

    def __repr__(self):
        return "Shift()"

    def start(self, layer, rng):
        return {"b": rng.random((1, layer.shape[1]))}

    def apply(self, layer, x, b):
        return layer(x) + b


CUSTOM = [Diagonal, Rows, Scaled, Shift]
METHODS = {
    "with fields": Diagonal(2.0, blocks=(0, (1, 2)), words=("a", 0.5)),
    "with a parameter's old name": Rows(3),
    "without fields": Shift(),
    "in a Chain": mp.Chain(mp.LoRA(2), Diagonal(0.5), mp.Chain(Rows())),
    "in Encoded": mp.Encoded(Rows(3), mlp_width=4),
    "a reparametrisation": Scaled(mp.PrefixTuning(3, shift_positions=False)),
    "a reparametrisation of PEFT's": Scaled(mp.PromptTuning(3)),
}


def save_random(method, folder):
    """Save the method with random parameters; return the adaptation."""
    rng = np.random.default_rng(1)
    γ = method.attach(MODEL, rng)
    for p in γ.parameters():
        p.data = p.data + 0.3 * rng.normal(size=p.shape)
    mp.save(γ, folder, dtype=np.float64)
    return γ


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_readers_own_is_loaded_as_it_was(tmp_path, name, resume):
    γ = save_random(METHODS[name], tmp_path / "a")
    again = mp.load_adaptation(tmp_path / "a", MODEL, resume=resume, methods=CUSTOM)
    folded = γ if resume else mp.fold(γ)
    assert type(again.method) is type(folded.method)
    assert repr(again) == repr(folded)
    assert np.array_equal(MODEL(IDS, again).data, MODEL(IDS, γ).data)
    assert np.abs(MODEL(IDS, again).data - MODEL(IDS).data).max() > 1e-3
    mp.save(again, tmp_path / "b", dtype=np.float64)
    third = mp.load_adaptation(tmp_path / "b", MODEL, resume=resume, methods=CUSTOM)
    assert np.array_equal(MODEL(IDS, third).data, MODEL(IDS, γ).data)


def test_the_folder_has_the_class_and_its_fields(tmp_path):
    save_random(Diagonal(2.0), tmp_path / "a")
    assert json.loads((tmp_path / "a/adapter_config.json").read_text()) == {
        "peft_type": "MINIPEFT_CUSTOM",
        "class": "Diagonal",
        "fields": {"scale": 2.0, "blocks": [], "words": [], "targets": r"attn\.o$"},
    }


@pytest.mark.parametrize("name", METHODS)
def test_without_its_class_the_error_says_which_to_pass(tmp_path, name):
    save_random(METHODS[name], tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"methods=\[(Diagonal|Rows|Scaled|Shift)\]"):
        mp.load_adaptation(tmp_path / "a", MODEL)


def test_another_class_is_not_used_instead(tmp_path):
    save_random(Diagonal(), tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"methods=\[Diagonal\]"):
        mp.load_adaptation(tmp_path / "a", MODEL, methods=[Shift])


def test_nothing_is_imported_because_a_file_names_it(tmp_path):
    save_random(Diagonal(), tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    tensors = tmp_path / "a/adapter_model.safetensors"
    for name in ("antigravity.Diagonal", "os.system", f"{__name__}.Diagonal", "LoRA"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"class": name}))
        same_length = name[:8].ljust(8, "x").encode()  # in the metadata, too
        tensors.write_bytes(tensors.read_bytes().replace(b"Diagonal", same_length))
        modules = {*sys.modules}
        with pytest.raises(CheckpointError, match="pass that class"):
            mp.load_adaptation(tmp_path / "a", MODEL)
        assert {*sys.modules} == modules


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"scale": "2"}, "scale='2' must be a finite float"),
        ({"scale": True}, "scale=True must be a finite float"),
        ({"blocks": 3}, "blocks=3 must be a tuple"),
        ({"targets": "^nothing$"}, "no layer matches '\\^nothing\\$'"),
        ({"targets": "("}, "targets='\\(' is not a valid pattern"),
        ([1], "fields=\\[1\\] must be a dict"),
    ],
)
def test_a_malformed_field_is_refused(tmp_path, fields, message):
    save_random(Diagonal(), tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fields": fields}))
    with pytest.raises(CheckpointError, match=message):
        mp.load_adaptation(tmp_path / "a", MODEL, methods=[Diagonal])


def test_a_field_without_default_must_be_there(tmp_path):
    save_random(mp.Chain(Scaled(Rows()), mp.BitFit()), tmp_path / "a")
    tensors = tmp_path / "a/adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes().replace(b'\\"method\\"', b'\\"mothed\\"'))
    with pytest.raises(CheckpointError, match="the field method is missing"):
        mp.load_adaptation(tmp_path / "a", MODEL, methods=CUSTOM)


def test_parameters_that_a_small_file_cannot_fill_are_not_made(tmp_path):
    save_random(Rows(3), tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    settings = json.loads(path.read_text())
    settings["fields"]["length"] = 10**12
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="far larger than the file"):
        mp.load_adaptation(tmp_path / "a", MODEL, methods=[Rows])


def test_a_class_with_state_that_is_no_field_is_not_saved(tmp_path):
    class Stateful(Shift):
        def __init__(self, scale):
            self.scale = scale

    with pytest.raises(CheckpointError, match=r"write @dataclass\(frozen=True\)"):
        mp.save(Stateful(2.0).attach(MODEL, np.random.default_rng(0)), tmp_path / "a")


def test_a_field_that_json_does_not_have_is_not_saved(tmp_path):
    γ = Diagonal(targets=r"attn\.o$", blocks=(print,)).attach(MODEL, np.random.default_rng(0))
    with pytest.raises(CheckpointError, match=r"Diagonal\.blocks=.*print.* can't be saved"):
        mp.save(γ, tmp_path / "a")


def test_two_classes_of_one_name_are_ambiguous(tmp_path):
    save_random(Diagonal(), tmp_path / "a")
    other = type("Diagonal", (Shift,), {})
    with pytest.raises(ValueError, match="2 classes of the name Diagonal"):
        mp.load_adaptation(tmp_path / "a", MODEL, methods=[Diagonal, other])
