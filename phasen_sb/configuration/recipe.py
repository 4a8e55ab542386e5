"""A recipe: its YAML with all that overrides it, read once."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from hyperpyyaml.core import recursive_update
from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar

from phasen_sb.configuration.arguments import find_wrong_argument
from phasen_sb.configuration.checks import (
    check_keys,
    check_overrides,
    check_ranges,
    check_values,
    drop_removed,
)
from phasen_sb.configuration.inheritance import (
    dump,
    find_includes,
    merge,
    read_chain,
    references,
    take_objects,
)
from phasen_sb.configuration.keys import keys_with
from phasen_sb.configuration.reading import (
    find_hparams,
    parse_yaml,
    read_yaml,
    to_plain,
)
from phasen_sb.errors import UserError
from phasen_sb.utils.file_names import DESCRIPTION
from phasen_sb.utils.files import write_atomically


@dataclass(frozen=True)
class Recipe:
    """What ``recipes/train.py`` trains.

    Example
    -------
    >>> overrides = f"{{output_folder: {getfixture('tmp_path')}, lr: 0.1}}"
    >>> recipe = Recipe.read("hparams/phasen.yaml", overrides)
    >>> recipe.resolve()["opt_class"]
    {'!tag': '!name:torch.optim.Adam', 'lr': 0.1}
    >>> recipe.load()["opt_class"].keywords
    {'lr': 0.1}
    """

    path: Path  #: the YAML that the user named, which messages name, too
    #: HyperPyYAML that needs no other file: what ``path``, its bases,
    #: ``sample.yaml`` and the command line say together. References are not
    #: resolved.
    text: str
    keys: tuple[str, ...]  #: those of ``text``
    from_sample: tuple[str, ...]  #: those with values from ``sample.yaml``

    @classmethod
    def read(
        cls, name: str | Path, overrides: str = "", debug: bool = False
    ) -> "Recipe":
        """Finds, reads, merges and checks a recipe's YAML.

        ``name`` is a path, or a packaged file such as ``hparams/phasen.yaml``;
        ``overrides`` is the YAML text of what overrides it. When neither the
        file nor these name data, the recipe trains on the packaged sample
        corpus, with the values of ``sample.yaml`` (shorter training, smaller
        batches). ``debug`` puts everything into ``debug`` within the output
        folder, so that a run with ``--debug`` touches no other. Raises
        UserError if a file, a key or an override is wrong.
        """
        path = find_hparams(name)
        given = _parse_overrides(overrides)
        files, layers = read_chain(path)
        find_includes(given, files[::-1])
        objects = take_objects(given, set().union(*layers))
        if objects:
            layers.append(objects)
        written = ChainMap(*reversed(layers))
        on_sample = not any(
            given.get(key) or written.get(key) for key in keys_with("data")
        )
        file = files[0].with_name("sample.yaml")
        sample = read_yaml(file) if file.is_file() else {}
        for key in objects:
            sample.pop(key, None)
        tree = merge(layers, sample, on_sample)
        used = references(tree)
        check_overrides(path, tree, given)
        try:
            recursive_update(tree, given)
        except TypeError as error:
            raise UserError(
                f"An override of {path} gives parts to a value that has none; "
                f"give a whole value ({error})."
            ) from error
        drop_removed(path, tree)
        check_keys(path, tree, used)
        if debug:
            _add_debug(tree)
        ours = tree.keys() - given.keys() if on_sample else ()
        from_sample = tuple(key for key in sample if key in ours)
        return cls(path, dump(tree), tuple(tree), from_sample)

    def resolve(self, overrides: Mapping | None = None) -> dict:
        """What the recipe says: references resolved, objects not built.

        Values of ``overrides`` take the place of the recipe's. Returns plain
        values; an object is a mapping of its arguments, its class under
        ``!tag``. Raises UserError if a reference leads nowhere.
        """
        return to_plain(YAML().load(self._resolved(overrides)))

    def load(self) -> dict:
        """Builds what the recipe describes, and checks values.

        Returns SpeechBrain's ``hparams``: values and objects. Raises UserError
        if an object cannot be built, or a value makes no sense; the message
        names it.
        """
        # First what can be named by its key; objects only know their arguments.
        tree = self.resolve()
        check_ranges({k: v for k, v in tree.items() if _is_plain(v)})
        wrong = find_wrong_argument(tree, _is_ours)
        if wrong is not None:
            raise self._error(UserError(wrong))
        try:
            hparams = load_hyperpyyaml(self.text)
        except UserError:
            raise
        except Exception as error:  # a class of the YAML may raise any
            wrong = find_wrong_argument(tree, lambda name: not _is_ours(name))
            raise self._error(error, wrong) from error
        check_values(hparams)
        return hparams

    def write(self, folder: str | Path) -> None:
        """Writes ``hyperparams.yaml``, as SpeechBrain writes it for its own.

        ``speechbrain.create_experiment_directory`` could only read one file.
        """
        write_atomically(
            Path(folder) / DESCRIPTION,
            f"# Generated {date.today()} from:\n# {self.path.absolute()}\n"
            f"# yamllint disable\n{self._resolved()}",
        )

    def _resolved(self, overrides=None):
        try:
            return resolve_references(self.text, overrides).getvalue()
        except (
            ValueError,
            TypeError,
            KeyError,
            OSError,
            RecursionError,
        ) as error:
            raise self._error(error) from error

    def _error(self, error, reason=None):
        while error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, OSError) or not error.args:
            message = str(error) or type(error).__name__
        else:  # HyperPyYAML puts its own words before the constructor's
            message = ": ".join(str(argument) for argument in error.args)
        message = " ".join(message.split()).rstrip(".")
        perhaps = "" if reason is None else f" Perhaps {reason}"
        return UserError(f"{self.path} cannot be loaded: {message}.{perhaps}")


def _is_ours(name):
    return name.startswith("phasen_sb.")


def _is_plain(value):
    """Whether a value is known before objects are built."""
    is_made = isinstance(value, str) and value.startswith("!")
    return isinstance(value, (int, float, str)) and not is_made


def _parse_overrides(text):
    # What follows no --key comes before the first one.
    stray = text.partition(":")[0].split()
    if len(stray) > 1 or (stray and ":" not in text):
        raise UserError(
            f"{stray[0]!r} on the command line belongs to no option; write "
            "--key value."
        )
    return parse_yaml(text, "The command line's overrides are")


def _add_debug(tree):
    folder = tree["output_folder"]
    if isinstance(folder, TaggedScalar):  # !ref results/<name>
        folder.value += "/debug"
    else:
        tree["output_folder"] = f"{folder}/debug"
