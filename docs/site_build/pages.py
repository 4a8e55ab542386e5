"""Pages of the site whose Markdown lies elsewhere in the repository.

Links between pages are written so that they work in the repository; here they
are changed to where the site has the pages.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: Files of the repository, and the page that each becomes.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "phasen_sb/models/default/README.md": "model_card.md",
    "phasen_sb/models/live/README.md": "live_model_card.md",
}
SOURCES = {page: source for source, page in PAGES.items()}

#: ``](target#anchor)`` of a relative link or image.
LINK = re.compile(r"(?<=\]\()([^):#\s]+)(?=[#)])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs) -> str:
    """Changes a page's links."""
    path = page.file.src_uri
    source = SOURCES.get(path, f"docs/{path}")

    def change(link):
        target = posixpath.join(posixpath.dirname(source), link[1])
        target = posixpath.normpath(target)
        target = PAGES.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(path) or ".")

    return LINK.sub(change, markdown)
