"""The pages that people read, and the code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL_CARD = ROOT / "phasen_sb" / "models" / "default" / "README.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    MODEL_CARD,
    *sorted((ROOT / "docs").rglob("*.md")),
]


def page_name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def fenced(page: Path, language: str) -> list[str]:
    """The page's fenced blocks in a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.M)


def commands(page: Path) -> list[str]:
    """The lines of the page's indented blocks, continued ones joined."""
    text = re.sub(r"\\\n\s+", " ", page.read_text(encoding="utf-8"))
    text = re.sub(r"('\{[^}\n]*)\n\s+", r"\1 ", text)  # a value of two lines
    lines = re.findall(r"^ {4}(\S.*)", text, re.MULTILINE)
    return [part for line in lines for part in line.split(" && ")]
