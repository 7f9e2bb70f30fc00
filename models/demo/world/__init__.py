"""The demo's world: pictures of a few kinds, drawn and described from the same value.

Free of torch, because the judge shares it with the training. `words` holds what can be said,
`canvas` and `outlines` draw; `single`, `count`, `pair`, `landscape` and `face` are the kinds of
picture; `sampling` picks among them.
"""
