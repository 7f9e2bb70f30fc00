"""Rows of many jobs through one forward: who shares, who does not, and in what order."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.forward import predict_rows
from pipelines.steps import Conditioning, Row

from .toy import WIDTH, Call, ToyCheckpoint


def row(
    number: int, count: int = 1, timestep: float = 500.0, size: int = 2, length: int = 77
) -> Row:
    """A row that the model tells from all others."""
    generator = torch.Generator().manual_seed(number)
    x = torch.randn((count, 4, size, size), generator=generator)
    return Row(x, timestep, Conditioning(torch.rand((count, length, WIDTH), generator=generator)))


def alone(rows: list[Row]) -> list[Tensor]:
    toy = ToyCheckpoint()
    return [
        toy.predict(row.x, torch.full(row.x.shape[:1], row.timestep), row.told.context)
        for row in rows
    ]


def predicted(rows: list[Row], max_rows: int = 16) -> list[Call]:
    """The forwards made, after their answers were checked against each row's own."""
    toy = ToyCheckpoint()
    answers = predict_rows(toy.lent(), rows, max_rows)
    for answer, expected in zip(answers, alone(rows), strict=True):
        torch.testing.assert_close(answer, expected)
    return toy.calls


def test_rows_of_all_time_steps_share_a_forward() -> None:
    (call,) = predicted([row(1, timestep=999.0), row(2, timestep=3.25), row(3, timestep=40.5)])
    assert call.timesteps == (999.0, 3.25, 40.5)


def test_every_row_keeps_its_vector_in_company() -> None:
    toy = ToyCheckpoint(sizes="sizes")
    told = [
        Row(each.x, each.timestep, replace(each.told, vector=torch.full((1, WIDTH + 6), number)))
        for number, each in ((1.0, row(1)), (2.0, row(2)), (30.0, row(3)))
    ]
    answers = predict_rows(toy.lent(), told, 16)
    assert len(toy.calls) == 1
    for each, answer in zip(told, answers, strict=True):
        (own,) = predict_rows(ToyCheckpoint(sizes="sizes").lent(), [each], 16)
        torch.testing.assert_close(answer, own)
    other = replace(told[0].told, vector=torch.full((1, WIDTH + 6), 30.0))
    (moved,) = predict_rows(toy.lent(), [replace(told[0], told=other)], 16)
    assert not torch.allclose(moved, answers[0])


def test_every_latent_of_a_row_has_its_time_step() -> None:
    (call,) = predicted([row(1, count=2, timestep=7.0), row(2, count=3, timestep=8.0)])
    assert call.timesteps == (7.0, 7.0, 8.0, 8.0, 8.0)


def test_sizes_and_lengths_never_share_and_answers_keep_their_order() -> None:
    rows = [
        row(1),
        row(2, size=4),
        row(3, length=154),
        row(4),
        row(5, size=4, length=154),
        row(6, length=154),
        row(7, size=4),
    ]
    calls = [(call.size, call.length, len(call.timesteps)) for call in predicted(rows)]
    assert calls == [
        ((4, 2, 2), 77, 2),
        ((4, 4, 4), 77, 2),
        ((4, 2, 2), 154, 2),
        ((4, 4, 4), 154, 1),
    ]


@pytest.mark.parametrize(
    ("counts", "max_rows", "forwards"),
    [
        ([1, 1, 1, 1, 1], 2, [2, 2, 1]),
        ([1, 1, 1, 1], 4, [4]),
        ([2, 2, 2], 4, [4, 2]),
        ([2, 3, 2], 4, [2, 3, 2]),
        ([3, 1, 1], 4, [4, 1]),
        ([5, 1], 4, [5, 1]),
        ([1, 5, 1], 4, [1, 5, 1]),
        ([1, 1], 1, [1, 1]),
    ],
)
def test_a_forward_takes_so_many_latents_and_no_row_is_torn(
    counts: list[int], max_rows: int, forwards: list[int]
) -> None:
    calls = predicted([row(i, count=count) for i, count in enumerate(counts)], max_rows)
    assert [len(call.timesteps) for call in calls] == forwards


def test_no_rows_need_no_forward() -> None:
    assert predicted([]) == []


def test_an_error_of_the_model_comes_through() -> None:
    toy = ToyCheckpoint()
    bad = row(1)
    bad.told.context[0, 5, 0] = toy.tokenizer.id("boom") / 1000
    with pytest.raises(RuntimeError, match="boom"):
        predict_rows(toy.lent(), [row(2), bad], 16)
