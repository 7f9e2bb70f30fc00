"""What the picture work refuses."""


class BadPicture(ValueError):
    """Pictures that cannot be used as asked; the message names the value and what is allowed."""
