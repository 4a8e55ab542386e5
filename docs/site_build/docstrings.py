"""Docstrings as SpeechBrain writes them, made readable for mkdocstrings.

They are NumPy docstrings whose headings differ in two words, with Sphinx's
roles as cross references.
"""

import re

import griffe

HEADINGS = {"Arguments": "Parameters", "Example": "Examples"}
HEADING = re.compile(r"^(Arguments|Example)\n-+$", re.MULTILINE)
ROLE = re.compile(r":\w+:`~?([\w.]+)`")


def _heading(match):
    name = HEADINGS[match[1]]
    return f"{name}\n{'-' * len(name)}"


def _reference(match):
    path = match[1]
    text = f"<code>{path.removeprefix('phasen_sb.')}</code>"
    # A link where the site has the object, otherwise code.
    return f'<autoref optional identifier="{path}">{text}</autoref>'


class SpeechBrainDocstrings(griffe.Extension):
    """Changes every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Changes one object's docstring."""
        if obj.docstring:
            text = HEADING.sub(_heading, obj.docstring.value)
            obj.docstring.value = ROLE.sub(_reference, text)
