"""Private multi-modal land-cover learning across organisations."""

from feddiff_secure.version import __version__

__all__ = ["__version__"]
