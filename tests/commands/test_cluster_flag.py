"""--cluster: the reports of one machine, and errors that name the address."""

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
