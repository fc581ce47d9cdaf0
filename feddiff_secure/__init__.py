"""Private multi-modal land-cover learning across organisations.

`load_scene`, `run`, `predict` and `verify` are the library (docs/library.md); they are loaded when
first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from feddiff_secure.version import __version__

if TYPE_CHECKING:
    from feddiff_secure.library import load_scene, predict, run, verify

__all__ = ["__version__", "load_scene", "predict", "run", "verify"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("feddiff_secure.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
