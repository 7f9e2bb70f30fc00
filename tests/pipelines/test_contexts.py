import torch

from pipelines.contexts import matched, padded, separate, stacked
from pipelines.steps import Conditioning


def test_shorter_contexts_repeat_their_last_vector_and_longer_ones_are_cut() -> None:
    context = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(matched(context, 3), context)
    assert torch.equal(matched(context, 2), context[:, :2])
    longer = matched(context, 5)
    assert torch.equal(longer[:, :3], context)
    assert longer[:, 3:].tolist() == [[[4.0, 5.0]] * 2, [[10.0, 11.0]] * 2]


def test_what_is_separated_stacks_to_the_same() -> None:
    told = Conditioning(torch.rand(3, 4, 2), torch.rand(3, 5))
    parts = separate(told)
    assert [part.context.shape for part in parts] == [(1, 4, 2)] * 3
    again = stacked(parts)
    assert torch.equal(again.context, told.context)
    assert again.vector is not None
    assert told.vector is not None
    assert torch.equal(again.vector, told.vector)
    assert stacked(separate(Conditioning(told.context))).vector is None


def test_stacked_contexts_are_lengthened_by_their_last_vector() -> None:
    short, long = torch.arange(4.0).view(1, 2, 2), torch.rand(1, 3, 2)
    found = stacked([Conditioning(short), Conditioning(long)]).context
    assert found[0].tolist() == [[0.0, 1.0], [2.0, 3.0], [2.0, 3.0]]
    assert torch.equal(found[1:], long)


def test_padding_adds_whole_chunks_of_the_filler() -> None:
    context, filler = torch.rand(2, 2, 3), torch.rand(1, 2, 3)
    found = padded(context, 6, filler)
    assert torch.equal(found, torch.cat([context, filler.expand(2, -1, -1).repeat(1, 2, 1)], 1))
    assert torch.equal(padded(context, 2, filler), context)
