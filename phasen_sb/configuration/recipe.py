"""Loads a recipe's YAML, and says in one sentence what is wrong with it."""

import difflib
import re
from importlib.resources import files
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import TaggedScalar
from ruamel.yaml.error import YAMLError
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.ranges import check_ranges
from phasen_sb.errors import UserError

# Any of these on the command line says which data to train on.
DATA_KEYS = ("data_folder", "noisy_folder", "clean_folder", "noise_folder")


#: What recipes/train.py and the Brain read beside what the YAML refers to.
RECIPE_KEYS = {
    "seed",
    "output_folder",
    "prepare_data",
    "make_datasets",
    "init_from",
    "batch_size",
    "num_workers",
    "augmentation",
    "validate_every",
    "valid_batch_seconds",
    "phase_lr_scale",
    "average_decay",
    "activation_memory_budget",
    "use_tensorboard",
    "metrics",
    "metric_jobs",
    "metric_timeout",
    "pictured_utterances",
    "sample_rate",
    "normalize",
    "compute_stft",
    "compute_cost",
    "modules",
    "opt_class",
    "lr_schedule",
    "epoch_counter",
    "checkpointer",
    "train_logger",
}


def load_recipe(
    name: str, overrides: str, debug: bool = False
) -> tuple[Path, dict, dict]:
    """Finds, checks and loads the YAML of ``recipes/train.py``.

    Arguments
    ---------
    name : str
        A path, or a packaged file such as ``hparams/phasen.yaml``.
    overrides : str
        YAML text of the command line's overrides.
    debug : bool
        Put everything into ``debug`` within the output folder, so that a run
        with ``--debug`` touches no other.

    Returns
    -------
    path : pathlib.Path
        The file that was found.
    hparams : dict
        What it describes.
    overrides : dict
        All overrides, those of ``sample.yaml`` included.

    Raises
    ------
    phasen_sb.errors.UserError
        If the file, a key or an override is wrong.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> overrides = f"{{output_folder: {folder}, batch_size: 2}}"
    >>> _, hparams, _ = load_recipe("hparams/phasen.yaml", overrides)
    >>> hparams["batch_size"]
    2
    """
    path = find_hparams(name)
    merged = merge_overrides(path, overrides)
    if debug:
        folder = resolve(path, merged)["output_folder"]
        merged["output_folder"] = f"{folder}/debug"
    hparams = load_hparams(path, merged)
    check_keys(path, hparams, RECIPE_KEYS)
    check_ranges(hparams)
    return path, hparams, merged


def find_hparams(name: str) -> Path:
    """Finds a YAML file: as a path, else among those of the package.

    Arguments
    ---------
    name : str
        A path, or a packaged file such as ``hparams/phasen.yaml``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    phasen_sb.errors.UserError
        If there is no such file; the nearest name is suggested.

    Example
    -------
    >>> find_hparams("hparams/phasen.yaml").name
    'phasen.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    packaged = Path(str(files("phasen_sb.hparams")))
    inner = path.relative_to("hparams") if path.parts[0] == "hparams" else path
    if not path.is_absolute() and (packaged / inner).is_file():
        return packaged / inner
    names = [entry.name for entry in packaged.rglob("*.yaml")]
    near = _nearest(path.name, names)
    raise UserError(f"There is no hyperparameter file {name}{near}")


def read_yaml(path: Path) -> dict:
    """Reads a YAML as it is written: no references, no objects.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.

    Returns
    -------
    dict

    Raises
    ------
    phasen_sb.errors.UserError
        If it cannot be read, or is not valid YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    tree = _parse(text, f"{path} is")
    if not tree or not isinstance(tree, dict):
        raise UserError(f"{path} holds no 'key: value' pairs.")
    return tree


def merge_overrides(path: Path, overrides: str) -> dict:
    """Puts command-line overrides over the sample's settings.

    When no override names data, the recipe trains on the packaged sample
    corpus, and the values of ``sample.yaml`` beside the YAML (shorter
    training, smaller batches) go over the YAML's. Command-line values go over
    both.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.
    overrides : str
        YAML text of the command line's overrides.

    Returns
    -------
    dict
        All overrides.
    """
    # What follows no --key comes before the first one.
    stray = overrides.partition(":")[0].split()
    if len(stray) > 1 or (stray and ":" not in overrides):
        raise UserError(
            f"{stray[0]!r} on the command line belongs to no option; write "
            "--key value."
        )
    given = _parse(overrides, "The command line's overrides are")
    written = read_yaml(path)
    sample = path.with_name("sample.yaml")
    if sample.is_file() and not any(
        given.get(key) or written.get(key) for key in DATA_KEYS
    ):
        return read_yaml(sample) | given
    return given


def resolve(path: Path, overrides: dict) -> dict:
    """What a YAML says: its references resolved, its objects not built.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.
    overrides : dict
        Values that replace the file's.

    Returns
    -------
    dict
        Plain values; an object is a mapping of its arguments, its class
        under ``!tag``.

    Raises
    ------
    phasen_sb.errors.UserError
        If the YAML is not valid, or an override is unknown.

    Example
    -------
    >>> settings = resolve(find_hparams("phasen.yaml"), {"lr": 0.1})
    >>> settings["opt_class"]
    {'!tag': '!name:torch.optim.Adam', 'lr': 0.1}
    """
    _check_overrides(path, overrides)
    try:
        with open(path, encoding="utf-8") as file:
            text = resolve_references(file, overrides, True).getvalue()
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"{path} cannot be loaded: {_cause(error)}") from error
    return _plain(YAML().load(text))


def load_hparams(path: Path, overrides: dict) -> dict:
    """Loads a HyperPyYAML file.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.
    overrides : dict
        Values that replace the file's.

    Returns
    -------
    dict
        The objects and values that the file describes.

    Raises
    ------
    phasen_sb.errors.UserError
        If the YAML is not valid, an override or a key is unknown, or an
        object cannot be built; the message names it.
    """
    _check_overrides(path, overrides)
    try:
        with open(path, encoding="utf-8") as file:
            return load_hyperpyyaml(file, overrides)
    except UserError:
        raise
    except Exception as error:  # a class of the YAML may raise any
        raise UserError(f"{path} cannot be loaded: {_cause(error)}") from error


def _check_overrides(path, overrides):
    written = read_yaml(path)
    for key, value in overrides.items():
        if key not in written:
            near = _nearest(key, [*written, *RunOptions().as_dict()])
            raise UserError(f"{path} has no key {key!r} to override{near}")
        if isinstance(value, dict) and not isinstance(written[key], dict):
            raise UserError(
                f"{key} of {path} has no parts to override; change it in a "
                "copy of that file."
            )
        plain = isinstance(value, (str, int, float, list))
        if plain and _is_object(written[key]) and not _is_object(value):
            raise UserError(
                f"{key} of {path} is an object and cannot be {value!r}; give "
                f'some of its parts, --{key} "{{part: value}}", or another '
                f'object, --{key} "!new:module.Class".'
            )


def _is_object(node):
    tag = getattr(getattr(node, "tag", None), "value", None)
    return str(tag).startswith(("!new:", "!name:"))


def _parse(text, subject):
    try:
        return YAML().load(text) or {}
    except YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise UserError(
            f"{subject} not valid YAML: {problem}{line}."
        ) from error


def _plain(node):
    tag = getattr(getattr(node, "tag", None), "value", None)
    if isinstance(node, dict):
        items = {str(key): _plain(value) for key, value in node.items()}
        return {"!tag": tag} | items if tag else items
    if isinstance(node, list):
        items = [_plain(item) for item in node]
        return {"!tag": tag, "items": items} if tag else items
    if isinstance(node, TaggedScalar):
        return f"{tag} {node.value}".strip()
    for kind in (bool, int, float, str):  # ruamel's are subclasses
        if isinstance(node, kind):
            return kind(node)
    return node


def _cause(error):
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) or not error.args:
        message = str(error) or type(error).__name__
    else:  # HyperPyYAML puts its own words before the constructor's
        message = ": ".join(str(argument) for argument in error.args)
    return " ".join(message.split()).rstrip(".") + "."


def check_keys(path: Path, hparams: dict, known: set[str]) -> None:
    """Says which top-level key of a YAML nothing reads: a typing error.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.
    hparams : dict
        What it was loaded into.
    known : set of str
        The keys that the recipe reads.

    Raises
    ------
    phasen_sb.errors.UserError
        If a key is missing, or is neither known, nor a run option, nor
        referred to within the file.
    """
    for key in sorted(known - set(hparams)):
        near = _nearest(key, set(hparams) - known)
        raise UserError(f"{path} lacks the key {key!r}{near}")
    text = re.sub(r"(?m)(^|\s)#.*", "", path.read_text(encoding="utf-8"))
    used = known | set(re.findall(r"<(\w+)", text))
    used |= set(RunOptions().as_dict())
    for key in hparams:
        if key not in used:
            near = _nearest(key, known)
            raise UserError(f"Nothing reads the key {key!r} of {path}{near}")


def _nearest(name, names):
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
