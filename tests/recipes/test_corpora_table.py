"""Tables of sources: wrong ones, and the one that ships."""

import copy

import pytest
import yaml

from phasen_sb.errors import UserError
from recipes.corpora.__main__ import build
from recipes.corpora.table import read_table


def test_wrong_tables_are_refused(tmp_path):
    table = {
        "held_out": {"languages": [], "noises": []},
        "sources": [
            {
                "name": "a",
                "folder": ".",
                "noise": [{"label": "x", "files": "*", "licence": "CC BY-NC"}],
            }
        ],
    }
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(UserError, match="'CC BY-NC', which is not known"):
        read_table(path)
    table["sources"][0]["noise"][0].update(licence="CC0", label="x", kind=1)
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(UserError, match="is not a table of sources .*kind"):
        read_table(path)
    del table["sources"][0]["noise"][0]["kind"]
    for entry, message in (
        ({"label": "{autor}"}, "is not a table of sources .*autor"),
        ({"credits": "html"}, "credits of x is 'html'; it must be one of"),
    ):
        wrong = copy.deepcopy(table)
        wrong["sources"][0]["noise"][0].update(entry)
        path.write_text(yaml.safe_dump(wrong))
        with pytest.raises(UserError, match=message):
            read_table(path)
    for entries, message in (
        (["a"], "is not a table of sources"),
        (2 * table["sources"], "has 2 sources named a;"),
    ):
        path.write_text(yaml.safe_dump({**table, "sources": entries}))
        with pytest.raises(UserError, match=message):
            read_table(path)
    table["sources"][0]["noise"][0]["files"] = "*.none"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(UserError, match="has none of the files"):
        build(tmp_path / "work", path, jobs=1)
    with pytest.raises(UserError, match="--only is 'b'; it must be one of a"):
        build(tmp_path / "work", path, only=["b"])


def test_the_shipped_table_holds_out_what_it_says():
    table = read_table("recipes/corpora/sources.yaml")
    assert all(one.version or one.commit for one in table.sources)
    kinds = {files.label for one in table.sources for files in one.noise}
    assert table.far_noises <= kinds
    # What tests the published tables is in no file.
    assert not kinds & {"market", "harbour", "waves"}
    languages = {
        files.language for one in table.sources for files in one.speech
    }
    assert not languages & (table.far_languages | {"el", "bg", "be"})
