"""A state of the protocol that can be used once and then holds nothing."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

from feddiff_crypto.errors import OutOfOrderError

T = TypeVar("T")


class SingleUse(Generic[T]):
    """Base of the states: what a state holds is taken out by its one transition.

    A transition that fails has taken it out too, so no second attempt can be made with the same
    keys. States live in memory only: they can be neither copied nor serialised, hence not restored.
    """

    used_error: type[OutOfOrderError] = OutOfOrderError

    def __init__(self, held: T) -> None:
        self._held: T | None = held

    def _take(self) -> T:
        """What the state holds, once.

        Raises:
            OutOfOrderError: the state was used before (a subclass of it, where the state says so).
        """
        held, self._held = self._held, None
        if held is None:
            raise self.used_error(f"{type(self).__name__} was already used; a state serves once")
        return held

    def _peek(self) -> T:
        """What the state holds, left in place; for what is no transition.

        Raises:
            OutOfOrderError: the state was used.
        """
        if self._held is None:
            raise self.used_error(f"{type(self).__name__} was already used; a state serves once")
        return self._held

    def __reduce__(self) -> NoReturn:
        raise TypeError("round secrets live in memory only: a state is not copied or serialised")
