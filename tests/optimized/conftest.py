"""What computes the tiles."""

import pytest

from phasen_sb.native import library
from phasen_sb.optimized.portable import convolution

COMPILED = [
    name
    for name, kinds in library.CHOICES.items()
    if library.load_library(kinds[0].library)
]


@pytest.fixture(params=[*COMPILED, "oneDNN", "PyTorch"])
def operations(request, monkeypatch):
    """What computes the tiles, where this machine has it."""
    kinds = library.CHOICES.get(request.param, ())
    if kinds and not library.is_supported(kinds[0]):
        pytest.skip("no such kernels")
    kinds = tuple(filter(library.is_supported, kinds))
    monkeypatch.setattr(library, "list_kinds", lambda: kinds)
    if request.param == "PyTorch":
        monkeypatch.setattr(convolution, "has_fused", lambda dtype: False)
    return request.param
