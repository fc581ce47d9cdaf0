"""What every node of a run does with a message: one handler a phase, fixed codes for refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError, HybridUnavailableError
from feddiff_crypto.keys import Registry
from feddiff_privacy.errors import PrivacyError
from feddiff_secure.federation.context import WEIGHTS_DTYPE
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.transport.exchange import REFUSED, Message

T = TypeVar("T")


class RefusalError(Exception):
    """A node's refusal; its argument is the fixed code that leaves the node."""


def answered(
    steps: Mapping[str, Callable[[Message], Message]],
    phase: str,
    message: Message,
    forget: Callable[[], None],
) -> Message:
    """The reply to one message.

    Whatever another party can cause by what it sends comes back as a fixed code.

    Args:
        steps: phase → handler.
        phase: of the message.
        message: its fields.
        forget: ends the attempt under way, after a protocol error.
    """
    step = steps.get(phase)
    if step is None:
        return {REFUSED: "unknown_phase"}
    try:
        return step(message)
    except RefusalError as refusal:
        return {REFUSED: str(refusal.args[0])}
    except CryptoError as error:
        forget()
        return {REFUSED: type(error).__name__}


def accepted_plan(message: Message, owners: Registry) -> Plan:
    """The plan in a message, checked.

    Raises:
        RefusalError: not a plan, or one whose numbers do not hold, or of other owners.
        HybridUnavailableError: a plan of hybrid key agreement on a machine without ML-KEM-768.
    """
    try:
        plan = Plan.from_json(take(message, "plan", bytes))
        check_plan(plan)
    except HybridUnavailableError:
        raise  # leaves the node by its own name: nothing is wrong with the plan
    except (ValueError, CryptoError, PrivacyError, ArithmeticError, RecursionError) as error:
        raise RefusalError("plan_refused") from error
    if plan.owners != owners.parties:
        raise RefusalError("roster_refused")
    return plan


def take(message: Mapping[str, Value], key: str, expected: type[T]) -> T:
    """A field of a message, of exactly this type.

    Raises:
        RefusalError: missing, or of another type.
    """
    value = message.get(key)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise RefusalError("message_refused")
    return value


def query_of(message: Message, plan: Plan, phase: str) -> NDArray[np.float64]:
    """What the coordinator asks the release to be computed on (`LocalModel.query`).

    Raises:
        RefusalError: not a finite array of the plan's shape.
    """
    weights = message.get("weights")
    if not isinstance(weights, np.ndarray) or weights.dtype != WEIGHTS_DTYPE:
        raise RefusalError("weights_refused")
    if weights.shape != plan.query_shape(phase) or not np.isfinite(weights).all():
        raise RefusalError("weights_refused")
    return weights
