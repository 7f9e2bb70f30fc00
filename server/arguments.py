"""Arguments by name, where the wire hands them to a function as they are."""

from collections.abc import Collection, Sequence


def missing(function: str, required: Sequence[str], given: Collection[str]) -> str | None:
    """What Python says of a call without all of its required arguments; None where all are there.

    Clients of these routes are told so, and may look for it.
    """
    names = [repr(name) for name in required if name not in given]
    if not names:
        return None
    listed = " and ".join(names)
    if len(names) > 2:
        listed = f"{', '.join(names[:-1])}, and {names[-1]}"
    plural = "s" if len(names) > 1 else ""
    return f"{function}() missing {len(names)} required positional argument{plural}: {listed}"
