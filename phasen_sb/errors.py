"""The error that names a user's mistake and its mend."""


class UserError(ValueError):
    """Something the user can put right; the message is one full sentence.

    Command lines print the message alone, without a traceback, and exit
    with status 1.

    Example
    -------
    >>> raise UserError("speech.wav has no samples; remove it.")
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: speech.wav has no samples; remove it.
    """
