"""Rows of many jobs through one forward: who shares, who does not, and in what order."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.forward import predict_rows
from pipelines.steps import Conditioning, Row

from .gauges import AtMost
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


def tensors(answers: list[Tensor | Exception]) -> list[Tensor]:
    """Answers of which none is an error."""
    found = [answer for answer in answers if isinstance(answer, Tensor)]
    assert len(found) == len(answers), answers
    return found


def predicted(rows: list[Row], max_rows: int = 16) -> list[Call]:
    """The forwards made, after their answers were checked against each row's own."""
    toy = ToyCheckpoint()
    answers = predict_rows(toy.lent(), rows, AtMost(max_rows))
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
    answers = tensors(predict_rows(toy.lent(), told, AtMost(16)))
    assert len(toy.calls) == 1
    for each, answer in zip(told, answers, strict=True):
        lent = ToyCheckpoint(sizes="sizes").lent()
        (own,) = tensors(predict_rows(lent, [each], AtMost(16)))
        torch.testing.assert_close(answer, own)
    other = replace(told[0].told, vector=torch.full((1, WIDTH + 6), 30.0))
    (moved,) = tensors(predict_rows(toy.lent(), [replace(told[0], told=other)], AtMost(16)))
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
        ([2, 3, 2], 4, [4, 3]),
        ([3, 1, 1], 4, [4, 1]),
        ([5, 1], 4, [4, 2]),
        ([1, 5, 1], 4, [4, 3]),
        ([1, 1], 1, [1, 1]),
    ],
)
def test_a_forward_takes_so_many_latents_whosever_they_are(
    counts: list[int], max_rows: int, forwards: list[int]
) -> None:
    calls = predicted([row(i, count=count) for i, count in enumerate(counts)], max_rows)
    assert [len(call.timesteps) for call in calls] == forwards


def test_no_rows_need_no_forward() -> None:
    assert predicted([]) == []


def bad(number: int, count: int = 1) -> Row:
    """A row that the model cannot stand."""
    made = row(number, count=count)
    made.told.context[:, 5, 0] = ToyCheckpoint().tokenizer.id("boom") / 1000
    return made


def test_an_error_of_the_model_is_its_row_s_alone() -> None:
    toy, gauge = ToyCheckpoint(), AtMost(16)
    rows = [row(1), row(2, count=2), bad(3), row(4)]
    answers = predict_rows(toy.lent(), rows, gauge)
    assert isinstance(answers[2], RuntimeError)
    assert str(answers[2]) == "boom"
    fine = [rows[0], rows[1], rows[3]]
    for answer, expected in zip(tensors([*answers[:2], answers[3]]), alone(fine), strict=True):
        torch.testing.assert_close(answer, expected)


def test_the_first_error_of_a_row_is_told() -> None:
    (answer,) = predict_rows(ToyCheckpoint().lent(), [bad(1, count=3)], AtMost(16))
    assert str(answer) == "boom"


class Narrow(ToyCheckpoint):
    """A device with memory for so many latents."""

    room = 2

    def predict(
        self, x: Tensor, timestep: Tensor, context: Tensor, vector: Tensor | None = None
    ) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(x)}")
        return super().predict(x, timestep, context, vector)


def test_what_is_too_much_for_the_memory_goes_in_parts_and_is_told() -> None:
    toy, gauge = Narrow(), AtMost(16)
    rows = [row(1, count=3), row(2), row(3, count=2)]
    for answer, expected in zip(
        tensors(predict_rows(toy.lent(), rows, gauge)), alone(rows), strict=True
    ):
        torch.testing.assert_close(answer, expected)
    assert {len(call.timesteps) for call in toy.calls} == {1, 2}
    # of loads of four pixels a latent
    assert gauge.failures[0] == (24, "OutOfMemoryError")
    assert {load for load, _ in gauge.failures} == {24, 12}


class Laden(Narrow):
    """One that holds more while it has ballast."""

    def predict(
        self, x: Tensor, timestep: Tensor, context: Tensor, vector: Tensor | None = None
    ) -> Tensor:
        self.room = 2 if self.ballast else 4
        return super().predict(x, timestep, context, vector)


def test_what_can_be_spared_goes_before_a_forward_is_split() -> None:
    toy, gauge = Laden(ballast=True), AtMost(16)
    rows = [row(1, count=3), row(2)]
    found = tensors(predict_rows(toy.lent(), rows, gauge))
    for answer, expected in zip(found, alone(rows), strict=True):
        torch.testing.assert_close(answer, expected)
    assert [len(call.timesteps) for call in toy.calls] == [4]
    assert gauge.failures == []


def test_one_latent_that_is_too_much_is_an_error() -> None:
    toy = Narrow()
    toy.room = 0
    (answer,) = predict_rows(toy.lent(), [row(1)], AtMost(16))
    assert isinstance(answer, torch.OutOfMemoryError)


def test_every_forward_is_measured_by_its_pixels() -> None:
    gauge = AtMost(4)
    predict_rows(ToyCheckpoint().lent(), [row(1, count=5), row(2, size=4)], gauge)
    assert gauge.loads == [4 * 4, 4, 16]
