"""Errors that name a user's mistake and its fix."""

from collections.abc import Sequence


class UserError(ValueError):
    """Something the user can fix; the message is one full sentence.

    Command lines print the message alone, without a traceback, and exit
    with status 1.

    Example
    -------
    >>> raise UserError("speech.wav has no samples; remove it.")
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: speech.wav has no samples; remove it.
    """


def choose(name: str, value: str, choices: Sequence[str]) -> str:
    """Checks an option that takes one of a few values.

    Arguments
    ---------
    name : str
        The option, for the message.
    value : str
        What it was set to.
    choices : sequence of str
        What it can be set to.

    Returns
    -------
    str
        ``value``.

    Raises
    ------
    UserError
        If ``value`` is not one of ``choices``.

    Example
    -------
    >>> choose("norm", "layer", ("global", "frame"))
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: norm is 'layer'; it must be one of global,
    frame.
    """
    if value not in choices:
        raise UserError(
            f"{name} is {value!r}; it must be one of {', '.join(choices)}."
        )
    return value
