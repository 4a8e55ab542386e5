"""Signals to processes."""

import signal


def heed_ctrl_c():
    """To be called in a child; a shell's background jobs ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
