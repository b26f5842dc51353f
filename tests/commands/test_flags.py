"""Flags: in a TOML file, in the help, in the manual, and under the names that they had before."""

import re
from inspect import getdoc
from pathlib import Path

import pytest

import minipeft as mp
from minipeft.commands import COMMANDS, command_class
from minipeft.commands.common import flag_name
from minipeft.commands.config import read_config
from minipeft.equations import EQUATIONS

MANUAL = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
CONFIGS = {
    "steps = 'many'": "run.toml: steps = 'many' must be an integer",
    "steps = true": "run.toml: steps = True must be an integer",
    "lr = []": "run.toml: lr = [] must be a number",
    "json = 1": "run.toml: json = 1 must be true or false",
    "data = 3": "run.toml: data = 3 must be a string",
    "lr-scheduler = 'linar'": "lr-scheduler = 'linar' must be one of linear, cosine, constant",
    "stepz = 3": "unknown key 'stepz'; did you mean 'steps'? (keys: method, data, out",
    "text_colum = 'x'": "did you mean 'text-column'?",
    "config = 'x'": "run.toml: unknown key 'config'",
    "method = 'lora'": "run.toml: method = 'lora' must be a table of its fields",
    "[lora]\nrnak = 3": "run.toml: lora: unknown key 'rnak'; did you mean 'rank'? (keys: rank, ",
    "[lora]\nrank = 'x'": "run.toml: lora: rank = 'x' must be an integer",
    "[lora]\nrank = 0": "LoRA: rank=0 must be an integer of at least 1",
    "[lorra]\nrank = 3": "unknown key 'lorra'; did you mean 'lora'?",
    "lora = 3": "run.toml: lora must be a table of fields, not 3",
    "[lora]\n[prefix]": "run.toml must have one method, not prefix and lora",
    "[prefix]\nwords = [1.5]": "run.toml: prefix: words = [1.5] must be a string or a list",
    "[prefix]\nwords = ['a']": "PrefixTuning: words=('a',) must be one text, or token ids",
}
TEXT = ["--data", "text.txt", "--out", "new"]


@pytest.mark.parametrize("text, message", CONFIGS.items())
def test_an_error_in_a_configuration_names_the_file_and_the_key(faulty, refused, text, message):
    (faulty / "run.toml").write_text(text)
    code, error = refused(["train", "--config", "run.toml", *TEXT])
    assert code == 2 and message in error and len(error.splitlines()) == 1


def test_a_configuration_holds_flags_of_any_command(faulty, base, capsys, run):
    (faulty / "run.toml").write_text(f'model = "{base}"\nmethod = "lora"\njson = true\n')
    assert run("layers", "--config", "run.toml") == 0 and capsys.readouterr().out[0] == "["
    text = base.parent / "world.txt"
    (faulty / "run.toml").write_text(f'adaptation = ["one", "two"]\ndata = "{text}"\n')
    assert run("evaluate", "--config", "run.toml", "--model", base) == 3
    assert "there is no folder one" in capsys.readouterr().err


RENAMED = [  # command, old flag, new flag
    ("compare", "batch", "batch-size"),
    ("compare", "rates", "lrs"),
    ("compare", "full", "long"),
    ("train", "batch", "batch-size"),
    ("train", "passage", "block-size"),
    ("train", "rate", "lr"),
    ("train", "schedule", "lr-scheduler"),
    ("train", "warmup", "warmup-steps"),
    ("train", "slices", "micro-batches"),
    ("train", "every", "save-steps"),
    ("evaluate", "passage", "block-size"),
    ("generate", "tokens", "max-new-tokens"),
]
NEEDED = {
    "train": ["lora", *TEXT],
    "evaluate": ["--data", "text.txt"],
    "generate": ["--prompt", "x"],
}


@pytest.mark.parametrize("command, old, new", RENAMED)
def test_an_old_flag_is_refused_with_the_name_of_the_new(faulty, refused, command, old, new):
    fields = command_class(command).__dataclass_fields__
    assert new.replace("-", "_") in fields and old not in fields
    for flag in ([f"--{old}", "1"], [f"--{old}=1"]):
        code, error = refused([command, *NEEDED.get(command, []), *flag])
        assert code == 2 and error == f"minipeft: --{old} was renamed: use --{new}\n"
    (faulty / "run.toml").write_text(f"{old} = 1\n")
    code, error = refused([command, *NEEDED.get(command, []), "--config", "run.toml"])
    assert code == 2 and error == f"minipeft: run.toml: {old} was renamed: use {new}\n"


def test_the_renamed_flags_are_those_of_the_table():
    renamed = [(name, *pair) for name in COMMANDS for pair in command_class(name).renamed.items()]
    assert sorted(renamed) == sorted(RENAMED)


POSITIONAL = {  # how the help shows what is not a flag
    ("train", "method"): "{",
    ("info", "folder"): "[FOLDER]",
    ("claims", "claim"): "[CLAIM]",
    ("trace", "text"): "[OPTIONS] TEXT",
    ("inspect", "adaptation"): "[OPTIONS] ADAPTATION",
    ("verify", "file"): "[FILE]",
    ("convert", "source"): "SOURCE OUT",
    ("convert", "out"): "SOURCE OUT",
    ("check", "file"): "FILE[:NAME]",
    ("exercise", "name"): "lora|prefix|",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_flag(capsys, monkeypatch, run, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    for name in command_class(command).__dataclass_fields__:
        assert POSITIONAL.get((command, name), f"--{flag_name(name)} ") in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_every_flag_is_in_80_columns(capsys, monkeypatch, run, command):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(command, "--help") == 0
    usage, *lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(re.sub("[─│╭╮╰╯]", " ", " ".join(lines)).split())
    assert not re.search(
        r"--[\w-]+ (\S+ )?\((default|required)", text
    )  # a flag without a help text


@pytest.mark.parametrize("method", mp.METHODS)
def test_help_of_a_method_names_its_fields(capsys, run, method):
    assert run("train", method, "--help") == 0
    text = capsys.readouterr().out
    fields = mp.METHODS[method].__dataclass_fields__
    assert all(f"-{name.replace('_', '-')} " in text for name in fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_all_commands_says_of_each_what_its_own_does(command):
    assert getdoc(command_class(command)).split("\n\n")[0] == COMMANDS[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_names_every_flag_and_no_other(command):
    section = re.search(rf"^## {command}\n(.*?)^## ", MANUAL, re.M | re.S)[1]
    fields = command_class(command).__dataclass_fields__.keys() - {"model", "config", "json"}
    flags = {flag_name(name) for name in fields if (command, name) not in POSITIONAL}
    named = {
        flag
        for row in re.findall(r"^\| (`--.*?) \|", section, re.M)
        for flag in re.findall(r"--([\w-]+)", row)
    }
    assert named == flags


@pytest.mark.parametrize("command, old, new", RENAMED)
def test_the_manual_names_the_renamed_flags(command, old, new):
    (row,) = re.findall(rf"^\| `{command}` \| (`--.*)", MANUAL, re.M)
    before, now = (re.findall(r"--([\w-]+)", cell) for cell in row.split("|")[:2])
    assert (old, new) in zip(before, now, strict=True)


JSON = {
    "generate": ["--prompt", "The", "--max-new-tokens", 1],
    "methods": [],
    "layers": [],
    "info": [],
    "convert": ["decoder", "new"],
    "verify": ["--draws", 1],
    "trace": ["The soup"],
    "inspect": ["lora", "--text", "The soup", "--max-new-tokens", "1"],
    "exercise": ["lora"],
}


@pytest.mark.parametrize("command", JSON)
def test_the_manual_names_every_key_of_the_json(tmp_path, monkeypatch, json_of, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minipeft.commands.verify.EQUATIONS", EQUATIONS[:3])
    report = json_of(command, *JSON[command])
    keys = {*(report[0] if isinstance(report, list) else report)}
    section = MANUAL[MANUAL.index("## JSON") :]
    row = re.search(rf"^\| `{command}` \| (.*) \|$", section, re.M)[1]
    assert keys <= {*re.findall(r"`(\w+)`", row)}


def test_one_value_in_a_configuration_is_a_list_of_one(faulty):
    (faulty / "run.toml").write_text('text-column = "txt"\ndata = "two.csv"\n')
    flags = read_config(command_class("evaluate"), faulty / "run.toml", {})
    assert flags.text_column == ("txt",) and flags.adaptation == ()
