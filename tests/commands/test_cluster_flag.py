"""--cluster: the reports of one machine, and errors that name the address."""

import json

import pytest

pytest.importorskip("distributed")
TRAIN = ["train", "lora", "--steps", "2", "--micro-batches", "2", "--block-size", "8"]


def test_a_training_on_a_cluster_has_the_same_metrics(base, cluster, tmp_path, run):
    def metrics(*flags):
        out = tmp_path / f"adapted-{len(flags)}"
        text = base.parent / "world.txt"
        assert run(*TRAIN, "--model", base, "--data", text, "--out", out, *flags) == 0
        lines = (out / "metrics.jsonl").read_text().splitlines()
        return [line.split('"seconds"')[0] for line in lines]

    assert metrics("--cluster", cluster.scheduler_address) == metrics()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_wrong_address_is_named(base, tmp_path, refused, address):
    text = str(base.parent / "world.txt")
    flags = ["--model", str(base), "--data", text, "--out", str(tmp_path / "new")]
    code, error = refused([*TRAIN, *flags, "--cluster", address])
    assert code == 2 and error.startswith(f"minipeft: no Dask scheduler answers at {address!r}: ")


def test_a_comparison_on_a_cluster_has_the_same_results(base, examples, cluster, tmp_path, run):
    """So have the adaptations."""

    def compare(name, *flags):
        methods = ["--methods", "probe", "lora", "--steps", "3", "--pilot-steps", "2"]
        out = tmp_path / name
        flags = [
            "--model",
            base,
            "--data",
            examples,
            "--text",
            base.parent / "world.txt",
            *methods,
            *flags,
        ]
        assert run("compare", *flags, "--out", out) == 0
        results = json.loads((out / "compare.json").read_text())["results"]
        measured = ("seconds_per_run", "peak_bytes")
        tensors = (out / "lora" / "adapter_model.safetensors").read_bytes()
        return [{k: x for k, x in row.items() if k not in measured} for row in results], tensors

    assert compare("remote", "--cluster", cluster.scheduler_address) == compare("local")
