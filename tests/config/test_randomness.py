"""Every purpose draws from a generator of its own, which depends on the seed and the purpose's name alone."""

from __future__ import annotations

import itertools

import torch

from bnrepro.config.randomness import derive_seed, generator


def test_seeds_are_the_same_in_every_python() -> None:
    # Written down once: a change of these numbers changes every result of the repository.
    assert derive_seed(0, "init", "output") == 229394821787659103
    assert derive_seed(3, "order", 17) == 2973491456427872130


def test_no_two_purposes_share_a_seed() -> None:
    names = [("init", "output"), ("init", "hidden.0"), ("order", 0), ("order", 1), ("subset",), ("layers",)]
    seeds = [derive_seed(seed, *name) for seed in range(20) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbouring_seeds_draw_unrelated_numbers() -> None:
    draws = [torch.randn(4000, generator=generator(seed, "init", "output")) for seed in range(4)]
    for one, other in itertools.combinations(draws, 2):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.08


def test_a_generator_neither_reads_nor_moves_the_global_one() -> None:
    torch.manual_seed(1)
    first = torch.randn(5, generator=generator(7, "x"))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    torch.randn(3)
    assert torch.equal(first, torch.randn(5, generator=generator(7, "x")))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())
