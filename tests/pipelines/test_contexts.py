import torch

from pipelines.contexts import matched


def test_shorter_contexts_repeat_their_last_vector_and_longer_ones_are_cut() -> None:
    context = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(matched(context, 3), context)
    assert torch.equal(matched(context, 2), context[:, :2])
    longer = matched(context, 5)
    assert torch.equal(longer[:, :3], context)
    assert longer[:, 3:].tolist() == [[[4.0, 5.0]] * 2, [[10.0, 11.0]] * 2]
