"""Shards, and BLAS in one thread: the bits of a training do not depend on the number of threads."""

from contextlib import nullcontext
from threading import Event, Thread

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import minipeft as mp
from minipeft.autograd.products import in_blocks, product
from minipeft.training.parallel import MOST, OneBlasThread, map_batches, shard_rows, slices

BLAS = ThreadpoolController().select(user_api="blas")


def blas_threads():
    return {library["num_threads"] for library in BLAS.info()}


@pytest.mark.parametrize(
    "shape, model_size, shards",
    [
        ((8, 28), 9e5, 1),  # the built-in base
        ((32, 28), 9e5, 2),
        ((8, 28), 33e6, 1),  # an encoder of 22 million parameters and its embedding
        ((4, 128), 124e6, 2),  # GPT-2 small
        ((1, 512), 124e6, 1),  # one row
        ((64, 128), 1e5, 2),
        ((8, 32), 1e5, 1),
    ],
)
def test_a_wide_model_has_more_shards(shape, model_size, shards):
    assert len(shard_rows(shape, int(model_size))) == shards


@pytest.mark.skipif(not BLAS.lib_controllers, reason="threadpoolctl knows no BLAS here")
@pytest.mark.parametrize("thread_sets", [True, False])
def test_blas_has_one_thread_until_the_last_one_leaves(thread_sets):
    """Of two trainings in two threads, the first one to end lifts no limit of the other."""
    limit, inside, left = OneBlasThread(), Event(), Event()

    def other():
        with limit:
            inside.set()
            left.wait(9)

    with threadpool_limits(2, user_api="blas"):
        thread = Thread(target=other)
        with nullcontext() if thread_sets else limit:
            thread.start()
            assert inside.wait(9)
        with limit:
            if thread_sets:
                left.set()
                thread.join()
            assert blas_threads() == {1}
        left.set()
        thread.join()
        assert blas_threads() == {2}


def test_blas_has_its_threads_back_after_an_error():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), OneBlasThread():
        raise ZeroDivisionError
    assert blas_threads() == before


def test_a_step_has_the_same_bits_for_any_number_of_blas_threads():
    """With three threads BLAS adds the 96 numbers of a product in another order."""
    config, rng = mp.Config(70, 96, 1, 2, 60), np.random.default_rng(0)
    model, ids = mp.Decoder(config, rng), rng.integers(0, 70, (2, 50))

    def run(threads):
        with threadpool_limits(threads, user_api="blas"):
            full = mp.FullFineTuning().attach(model)
            trainer = mp.Trainer(model, full, mp.AdamW(full.parameters()), clip=1e-3)
            loss = trainer.step(ids, ids)
        return [np.array([loss, trainer.norm]), *(p.data for p in full.parameters())]

    assert all(map(np.array_equal, run(1), run(3)))


@pytest.mark.parametrize("n, size", [(0, 4), (1, 4), (5, 64), (50, 64), (64, 64), (1000, 64)])
def test_slices_hold_every_row_once_and_are_enough_for_all_threads(n, size):
    parts = slices(n, size)
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all(1 <= part.stop - part.start <= size for part in parts)
    assert len(parts) >= min(n, MOST) // 2


def test_results_of_batches_come_in_the_order_of_the_rows():
    rows = ["aaa", "b", "cc", "dddd", "e"] * 3
    seen = []

    def f(indices):
        seen.append(list(indices))
        return [rows[i] * 2 for i in indices]

    assert map_batches(f, rows) == [row * 2 for row in rows]
    assert len(seen) == 8 and map_batches(f, []) == []


def test_a_product_in_blocks_is_the_product():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((640, 256)), rng.standard_normal((256, 256))
    blocks = []

    def run(f, rows):
        blocks.extend(rows)
        return map(f, rows)

    with in_blocks(run):
        assert np.allclose(product(a, b), a @ b, rtol=1e-12, atol=1e-12)
        assert len(blocks) == 5 and len(product(a[:5], b)) == 5 == len(blocks)
    assert np.array_equal(product(a, b), a @ b) and len(blocks) == 5


def test_one_long_text_has_the_same_bits_for_any_number_of_threads():
    """Its products are large enough to be computed in blocks."""
    model = mp.Decoder(mp.Config(64, 256, 1, 4, 520), np.random.default_rng(0))
    ids = np.random.default_rng(0).integers(0, 64, (1, 512))

    def trained(workers):
        γ = mp.LoRA().attach(model, np.random.default_rng(0))
        trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters()), workers=workers)
        return [trainer.step(ids, ids) for _ in range(2)], [p.data for p in γ.parameters()]

    (losses, one), *others = map(trained, (1, 2, 8))
    for found, more in others:
        assert found == losses and all(map(np.array_equal, one, more))
