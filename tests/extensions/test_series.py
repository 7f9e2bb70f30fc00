"""Several generations told as one."""

from extensions.series import Series

from .fakes import FakeHost, picture, text


def test_the_first_and_the_last_generation_are_told() -> None:
    host, series = FakeHost(), Series()
    for seed in (5, 6):
        drawn = series.add(host.generate(text(seed=seed, steps=seed), {"Loop": seed}))
        assert len(drawn.images) == 1
    reply = series.reply((picture("a"), picture("b")), width=1)
    assert reply.infotexts == ("a cat||5|5",) * 2
    assert (reply.seed, reply.all_seeds, reply.subseed) == (5, (6,), -1)
    assert reply.info["steps"] == 6
    assert reply.info["width"] == 1
    assert reply.extra_generation_params == {"Loop": 6, "Seen": 2}


def test_pictures_are_not_kept() -> None:
    series = Series()
    series.add(FakeHost().generate(text(), {}))
    assert series.first is not None and series.first.images == ()
