"""Adaptations given twice, closed streams, long names, killed saves, an unread text."""

import sys

import pytest

import minipeft as mp


def test_adaptation_given_twice_is_refused_in_place_of_ignoring_the_first(refused):
    args = ["evaluate", "--data", "text.txt", "--adaptation", "whole", "--adaptation", "cut"]
    assert refused(args) == (
        2,
        "minipeft: --adaptation is given more than once: give it once, with all its values\n",
    )


def test_help_with_closed_streams_is_not_an_error(run, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run("--help") == 0 and run("train") == 2


def test_a_name_that_is_too_long_to_save_is_refused_before_the_training(refused):
    for length in (247, 250, 253):  # of the hidden folder of the save, and of NAME.part
        out = "n" * length
        for args in (
            ["train", "lora", "--data", "lines.txt", "--out", out],
            ["convert", "cut", out],
        ):
            code, message = refused(args)
            assert code == 3 and message.startswith(f"minipeft: {out} can't be created: ")
            assert ".part" not in message


def test_a_conversion_deletes_what_a_killed_one_has_left(run, base, tmp_path):
    for name in (".out[1].abcd1234/new", ".out[1].abcd1234/new/x", ".out[1].mine_too/old"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    assert run("convert", base, tmp_path / "out[1]") == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"out[1]", ".out[1].mine_too"}
    assert not (tmp_path / ".out[1].abcd1234").exists()


def test_a_folder_of_many_files_is_refused_in_a_short_line(tmp_path):
    for i in range(99):
        (tmp_path / f"file-{i:02}").touch()
    with pytest.raises(mp.CheckpointError) as error:
        mp.save(mp.load(), tmp_path)
    assert "file-08, …: only a folder of" in str(error.value) and "file-09" not in str(error.value)


@pytest.mark.parametrize("name", ["n" * 250, "file/x"])
def test_an_error_of_save_names_the_folder_that_was_given(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as error:
        mp.save(mp.load(), tmp_path / name)
    assert error.value.filename == str(tmp_path / name)


def test_a_text_that_the_base_has_not_read_gets_a_hint(run, base, tmp_path, capsys):
    (tmp_path / "own.txt").write_text((base.parent / "world.txt").read_text()[:3000])
    (tmp_path / "other.txt").write_text("The cat sat on the mat. " * 60)
    for name in ("own.txt", "other.txt"):
        assert run("evaluate", "--data", tmp_path / name) == 0
        hint = "it was not trained on such text" in " ".join(capsys.readouterr().err.split())
        assert hint == (name == "other.txt")
