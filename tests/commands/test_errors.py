"""Errors of the commands: the exit code, and one line that says what to do."""

import pytest

TEXT = ["--data", "text.txt", "--out", "new"]
USAGE = {
    "an unknown method to compare": (
        ["compare", "--methods", "lorra"],
        "no method is called 'lorra'; did you mean 'lora'? The methods are probe",
    ),
    "an unknown field": (["train", "prefix", *TEXT, "--lenght", "3"], "--lenght"),
    "a field of another kind": (["train", "prefix", *TEXT, "--length", "abc"], "--length"),
    "a field out of range": (["train", "prefix", *TEXT, "--length", "0"], "length=0 must be"),
    "texts for a prefix": (["train", "prefix", *TEXT, "--words", "a", 5], "words=('a', '5') must"),
    "an unknown command": (["compair"], "compair"),
    "missing flags": (["train", "lora"], "--data"),
}
NAMES = {  # what was typed: what is printed, but for the program's name
    "train lora --dta x": "train has no flag --dta; did you mean --data? Its flags: minipeft "
    "train lora --help",
    "train prefix --lenght=3": "train has no flag --lenght; did you mean --length? Its flags: "
    "minipeft train prefix --help",
    "train lora -steps 3": "train has no flag -steps; did you mean --steps? Its flags: minipeft "
    "train lora --help",
    "train lora --length 3": "train has no flag --length. Its flags: minipeft train lora --help",
    "compare --seed 3": "compare has no flag --seed; did you mean --seeds? Its flags: minipeft "
    "compare --help",
    "layers --qqq": "layers has no flag --qqq. Its flags: minipeft layers --help",
    "trian lora": "no command is called 'trian'; did you mean train? The commands are compare, ",
    "qqq": "no command is called 'qqq'. The commands are compare, train, ",
    "train lorra --rank 3": "no method is called 'lorra'; did you mean 'lora'? The methods are ",
    "compare --task sentimnet": "no task is called 'sentimnet'; did you mean sentiment? The tasks "
    "are sentiment, nli, table, qa, summary, topic, tags, style",
    "compare --task table2 --json": "no task is called 'table2'; did you mean table? ",
    "layers --method lroa": "no method is called 'lroa'; did you mean 'lora'? The methods are ",
    "train --config run.toml --rnak 3": "train has no flag --rnak; did you mean --rank? Its ",
}
VALUES = {
    "a built-in task beside examples": (
        ["compare", "--task", "nli", "--data", "two.csv"],
        "--task is a built-in task, --data examples of your own: give one",
    ),
    "a pattern that matches nothing": (
        ["train", "prefix", *TEXT, "--targets", "atn$"],
        "no layer matches 'atn$'; the model has tokens",
    ),
    "an invalid pattern": (
        ["train", "lora", *TEXT, "--targets", "attn["],
        "targets='attn[' is not a valid pattern",
    ),
    "a pattern for layers without weights": (
        ["train", "lora", *TEXT, "--targets", "attn$"],
        "no weight matrix of its own; it fits tokens, positions, blocks.N.attn.q",
    ),
    "a probe without labels": (["train", "probe", *TEXT], "text.txt has no labels: use"),
    "a prompt that leaves no positions": (
        ["train", "prompt", *TEXT, "--length", "99"],
        "--block-size 64: 163 positions are needed, 99 of them for",
    ),
    "a prefix that is too long": (
        ["train", "prefix", *TEXT, "--length", "500"],
        "a prefix of length 500 starts from",
    ),
    "an lr that is not a number": (
        ["train", "lora", *TEXT, "--lr", "nan"],
        "--lr must be greater than 0 and finite; got nan",
    ),
    "an infinite lr": (["train", "lora", *TEXT, "--lr", "inf"], "--lr must be greater than 0"),
    "a negative lr": (["compare", "--lrs", "-1", "1"], "--lrs must be greater than 0"),
    "no lr": (["compare", "--lrs"], "--lrs must be greater than 0 and finite; got none"),
    "no steps": (
        ["train", "lora", *TEXT, "--steps", "0"],
        "--steps must be at least 1, not 0",
    ),
    "no batch": (
        ["train", "lora", *TEXT, "--batch-size", "0"],
        "--batch-size must be at least 1, not 0",
    ),
    "a negative warmup": (
        ["train", "lora", *TEXT, "--warmup-steps", "-1"],
        "--warmup-steps must be at least 0, not -1",
    ),
    "a negative seed": (["train", "lora", *TEXT, "--seed", "-1"], "--seed must be at least 0"),
    "no tokens": (
        ["generate", "--prompt", "x", "--max-new-tokens", "0"],
        "--max-new-tokens must be at least 1, not 0",
    ),
    "too many tokens": (
        ["generate", "--prompt", "word " * 99, "--max-new-tokens", "9"],
        "; the model has 128",
    ),
    "a temperature that is not a number": (
        ["generate", "--prompt", "x", "--temperature", "nan"],
        "--temperature must be at least 0, not nan",
    ),
    "a prompt in another encoding": (
        ["generate", "--prompt", "caf\udce9"],
        "--prompt is not valid UTF-8",
    ),
    "no draws": (["verify", "--draws", "0"], "--draws must be at least 1, not 0"),
    "labels without a classifier": (
        ["evaluate", "--data", "one.jsonl"],
        "also give a classifier, --adaptation FOLDER",
    ),
    "a prompt that leaves no positions for a text with a label": (
        ["train", "prompt", "--length", "128", "--data", "two.csv", "--out", "new"],
        "128 positions are needed beside the text for",
    ),
    "a text to hold out beside examples": (
        ["train", "lora", "--data", "two.csv", "--dev", "text.txt", "--out", "new"],
        "--data, --dev and --test must all be examples with labels, or all texts",
    ),
    "a test file of a built-in task": (["compare", "--test", "two.csv"], "also give --data"),
    "three columns of texts": (
        ["train", "lora", "--data", "two.csv", "--text-column", "a", "b", "c", "--out", "new"],
        "give one column of texts, or two for pairs; got 3",
    ),
    "a method that can't learn a task": (
        ["compare", "--task", "style", "--methods", "lora", "full", "probe"],
        "the task style can't be learned by full, probe; it can by prompt, ",
    ),
    "several tasks": (["train", "multitask", *TEXT, "--tasks", "3"], "is a bank of 3 users"),
    "an adaptation merged into another": (
        ["convert", "whole", "new", "--adaptation", "whole"],
        "minipeft convert MODEL new --adaptation whole",
    ),
    "a base for a model": (["convert", "decoder", "new", "--model", "encoder"], "is not one"),
    "a model checked against another": (
        ["info", "encoder", "--model", "decoder"],
        "does not hold one",
    ),
    "predictions of a text": (
        ["evaluate", "--data", "text.txt", "--predictions", "new"],
        "--predictions needs examples",
    ),
}
BAD = {
    "a file of an unknown kind": (
        ["train", "lora", "--data", "table.xlsx", "--out", "new"],
        "table.xlsx: the ending '.xlsx' is unknown: examples end in .jsonl",
    ),
    "examples named as a text": (
        ["evaluate", "--data", "lines.txt"],
        "lines.txt holds examples in JSON: rename it to .jsonl",
    ),
    "a text to compare on": (["compare", "--data", "text.txt"], "text.txt does not hold examples"),
    "a folder as data": (["evaluate", "--data", "taken"], "taken is a folder, not a file"),
    "a label that is not trained": (
        ["train", "lora", "--data", "two.csv", "--test", "one.jsonl", "--out", "new"]
        + ["--dev", "other.csv"],
        "the label 'z' has no training example, and dev has one",
    ),
    "a missing file": (["compare", "--data", "none.jsonl"], "none.jsonl: no such file"),
    "a line that is not JSON": (["compare", "--data", "bad.jsonl"], "bad.jsonl:2: not JSON"),
    "a single label": (["compare", "--data", "one.jsonl"], "every example has the label"),
    "too few examples": (["compare", "--data", "few.jsonl"], "2 examples, too few"),
    "too few examples to train on": (
        ["train", "lora", "--data", "few.jsonl", "--out", "new"],
        "few.jsonl: 2 examples, too few: give at least 20",
    ),
    "a missing model": (["layers", "--model", "none"], "none"),
    "an empty text": (["train", "lora", "--data", "empty.txt", "--out", "new"], "file is empty"),
    "a text that is too short": (["train", "lora", *TEXT], "fewer than one passage of 64"),
    "a folder that exists": (
        ["train", "lora", "--data", "text.txt", "--out", "taken"],
        "taken exists already",
    ),
    "a folder inside a file": (
        ["train", "lora", "--data", "text.txt", "--out", "text.txt/new"],
        "text.txt is not a folder with write permission",
    ),
    "a truncated adaptation": (["generate", "--prompt", "x", "--adaptation", "cut"], "safetensors"),
    "an adaptation without labels": (
        ["evaluate", "--data", "one.jsonl", "--adaptation", "whole"],
        "whole is not a classifier: it has no head for texts",
    ),
    "generating with a classifier": (
        ["generate", "--prompt", "x", "--adaptation", "critic"],
        "critic is a classifier",
    ),
    "labels.json of another form": (
        ["evaluate", "--data", "one.jsonl", "--adaptation", "critic"],
        "labels.json must hold a list of names",
    ),
    "an empty folder": (["info", "taken"], "config.json: no such file; the folder has no files"),
    "a folder with a pickle": (["info", "pickle"], "pickles can run any code and are never opened"),
    "a truncated adaptation to describe": (["info", "cut"], "is not a valid safetensors file"),
    "a missing folder to convert": (
        ["convert", "none", "new"],
        "there is no folder none",
    ),
    "a truncated adaptation to convert": (
        ["convert", "cut", "new"],
        "is not a valid safetensors file",
    ),
    "an adaptation of another base": (["info", "whole", "--model", "encoder"], "another base"),
    "an adaptation of another base to convert": (
        ["convert", "whole", "new", "--model", "decoder"],
        "another base",
    ),
    "a folder with other files": (
        ["convert", "decoder", "critic"],
        "critic has labels.json: only a folder of model.safetensors",
    ),
    "a missing configuration": (["layers", "--config", "none.toml"], "none.toml: no such file"),
    "a configuration that is not TOML": (["layers", "--config", "text.txt"], "text.txt: not TOML"),
}


@pytest.mark.parametrize("args, message", USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_exits_with_2_and_names_the_flag(refused, args, message):
    code, error = refused(args)
    assert code == 2 and message in error


@pytest.mark.parametrize("line, message", NAMES.items())
def test_a_name_that_does_not_exist_is_answered_with_one_that_does(run, capsys, line, message):
    assert run(*line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"minipeft: {message}") and len(error.splitlines()) == 1


@pytest.mark.parametrize("args, message", VALUES.values(), ids=VALUES.keys())
def test_a_value_that_can_not_work_exits_with_2_and_one_line(refused, args, message):
    code, error = refused(args)
    assert code == 2 and message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("args, message", BAD.values(), ids=BAD.keys())
def test_bad_input_exits_with_3_and_one_line(refused, args, message):
    code, error = refused(args)
    assert code == 3 and message in error and len(error.splitlines()) == 1
