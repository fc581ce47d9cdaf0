"""The two ends of the transport over FLARE, each with a stand-in for FLARE's engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from feddiff_crypto.encoding import encode
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.flare import envelope
from feddiff_secure.transport.flare import exchange as flare_exchange
from feddiff_secure.transport.flare.envelope import (
    THERE,
    TOPIC,
    pack_reply,
    pack_request,
    unpack_reply,
    unpack_request,
)
from feddiff_secure.transport.flare.exchange import MOST_SILENT, FlareExchange
from feddiff_secure.transport.flare.executor import PartyExecutor
from feddiff_secure.transport.flare.job import JobParts, make_job

pytest.importorskip("nvflare")
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

NAMES = ("ann", "bob", "cec")
Answer = Callable[[str, Shareable], Shareable | None]


class Context:
    """What FLARE is told of one request."""

    def __init__(self) -> None:
        self.signal: Signal | None = None

    def put(self, key: str, value: Signal, *, private: bool, sticky: bool) -> None:
        assert key == ReservedKey.RUN_ABORT_SIGNAL
        assert private
        assert not sticky
        self.signal = value

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Engine:
    """What a job process of the server asks its sites by.

    Args:
        answer: what a site answers. there: whether it says that it is there.
        busy: sites that do not answer before FLARE gives them up.
    """

    def __init__(
        self,
        answer: Answer,
        there: Callable[[str], bool] = lambda _name: True,
        busy: Collection[str] = (),
    ) -> None:
        self.answer, self.there, self.busy = answer, there, busy
        self.timeouts = list[float]()
        self.questions: list[str] = []

    def new_context(self) -> Context:
        return Context()

    def send_aux_request(
        self,
        targets: list[str],
        topic: str,
        request: Shareable,
        timeout: float,
        fl_ctx: Context,
        *,
        optional: bool,
    ) -> dict[str, Shareable]:
        assert optional
        (name,) = targets
        assert fl_ctx.signal is not None
        if topic == THERE:
            self.questions.append(name)
            return {name: make_reply(ReturnCode.OK)} if self.there(name) else {}
        assert topic == TOPIC
        self.timeouts.append(timeout)
        until = time.monotonic() + timeout
        while name in self.busy and time.monotonic() < until and not fl_ctx.signal.triggered:
            time.sleep(0.005)
        if fl_ctx.signal.triggered:
            return {name: make_reply(ReturnCode.TIMEOUT)}
        answer = self.answer(name, request)
        return {} if answer is None else {name: answer}


def asked(answer: Answer, signal: Signal | None = None, **engine: Any) -> dict[str, Message]:
    exchange = FlareExchange(NAMES, Engine(answer, **engine), signal or Signal())
    return exchange.exchange("mask", {name: {"to": name} for name in NAMES}, 5.0)


def echo(_name: str, request: Shareable) -> Shareable:
    return pack_reply(unpack_request(request).message)


def test_every_site_gets_its_own_message_and_answers_for_itself() -> None:
    assert asked(echo) == {name: {"to": name} for name in NAMES}


@pytest.mark.parametrize(
    "late", [None, make_reply(ReturnCode.TIMEOUT), make_reply(ReturnCode.COMMUNICATION_ERROR)]
)
def test_a_site_that_does_not_answer_is_missing(late: Shareable | None) -> None:
    found = asked(lambda name, request: late if name == "bob" else echo(name, request))
    assert set(found) == {"ann", "cec"}


def test_a_stopped_job_raises_and_is_never_taken_for_dropouts() -> None:
    stopped = Signal()
    stopped.trigger(True)
    with pytest.raises(ProtocolAbortedError, match="the job was stopped"):
        asked(echo, stopped)
    while_waiting = Signal()

    def stops(name: str, request: Shareable) -> None:
        while_waiting.trigger(True)

    with pytest.raises(ProtocolAbortedError, match="the job was stopped"):
        asked(stops, while_waiting)


def test_a_reply_that_is_no_message_ends_the_run_and_names_the_site() -> None:
    for wrong in ({}, {"feddiff_blob": "text"}, {"feddiff_blob": b"\x80\x04."}):
        carried = Shareable()
        carried.update(wrong)
        with pytest.raises(ProtocolAbortedError, match="bob answered the phase mask with no"):
            asked(lambda name, request, c=carried: c if name == "bob" else echo(name, request))  # type: ignore[misc]  # the loop's own value


def test_a_blob_over_the_limit_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(_data: bytes) -> Message:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(envelope, "MOST_BLOB_BYTES", 100)
    carried = pack_reply({"blob": bytes(101)})
    monkeypatch.setattr(envelope, "decode", never)
    with pytest.raises(LimitError, match="bytes > 100"):
        unpack_reply(carried)


def test_only_text_a_number_and_bytes_are_given_to_flare() -> None:
    carried = dict(pack_request("mask", 7, {"a": 1, "b": b"c"}))
    assert {key: type(value) for key, value in carried.items() if key.startswith("feddiff")} == {
        "feddiff_blob": bytes,
        "feddiff_phase": str,
        "feddiff_number": int,
    }
    assert carried["feddiff_blob"] == encode({"a": 1, "b": b"c"})


WRONG_REQUESTS = [
    {"feddiff_phase": None}, {"feddiff_phase": ""}, {"feddiff_phase": "x" * 33},
    {"feddiff_number": 0}, {"feddiff_number": True}, {"feddiff_number": "1"},
    {"feddiff_blob": None}, {"feddiff_blob": b"FDM\x01"}, {"feddiff_blob": ["a"]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_REQUESTS, ids=str)
def test_a_request_that_is_not_of_its_form_is_refused(wrong: dict[str, Any]) -> None:
    carried = {**pack_request("mask", 1, {}), **wrong}
    with pytest.raises(DecodeError):
        unpack_request(carried)


def test_a_phase_that_people_decide_about_is_waited_for_longer() -> None:
    engine = Engine(echo)
    exchange = FlareExchange(NAMES, engine, Signal(), patience={"plan": 3600.0})
    for phase in ("plan", "mask"):
        exchange.exchange(phase, {"ann": {}}, 60.0)
    assert engine.timeouts == [3600.0, 60.0]


def test_a_dead_site_is_not_waited_for_however_long_the_phase_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flare_exchange, "ALIVE_PERIOD", 0.01)
    engine = Engine(echo, there=lambda name: name != "bob", busy=["bob"])
    found = FlareExchange(NAMES, engine, Signal()).exchange("train", {key: {} for key in NAMES}, 20)
    assert set(found) == {"ann", "cec"}
    assert engine.questions == ["bob"] * MOST_SILENT


def test_a_busy_site_is_waited_for_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flare_exchange, "ALIVE_PERIOD", 0.01)
    engine = Engine(echo, busy=["bob"])
    found = FlareExchange(NAMES, engine, Signal()).exchange(
        "train", {key: {} for key in NAMES}, 0.5
    )
    assert set(found) == set(NAMES)
    assert len(engine.questions) > MOST_SILENT


def test_a_site_that_is_silent_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flare_exchange, "ALIVE_PERIOD", 0.01)
    heard = iter([*[False] * (MOST_SILENT - 1), True] * 3)
    engine = Engine(echo, there=lambda _name: next(heard, True), busy=["bob"])
    found = FlareExchange(NAMES, engine, Signal()).exchange(
        "train", {key: {} for key in NAMES}, 0.5
    )
    assert set(found) == set(NAMES)
    assert len(engine.questions) > 3 * MOST_SILENT


def test_a_job_stopped_while_a_site_works_is_over_at_once() -> None:
    signal = Signal()
    threading.Timer(0.05, signal.trigger, (True,)).start()
    with pytest.raises(ProtocolAbortedError, match="the job was stopped"):
        asked(echo, signal, busy=["bob"])


def test_sites_are_asked_at_once_and_not_in_turn() -> None:
    together = threading.Barrier(len(NAMES), timeout=10)

    def meets(name: str, request: Shareable) -> Shareable:
        together.wait()
        return echo(name, request)

    assert set(asked(meets)) == set(NAMES)


class Scripted:
    """A party that says what happened to it."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.inside, self.most = 0, 0

    def handle(self, phase: str, message: Message) -> Message:
        if phase == "fail":
            raise RuntimeError("7 tiles of class meadow")
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.02)
        self.handled.append(phase)
        self.inside -= 1
        return {"phase": phase}


class Executor(PartyExecutor):
    """The site's end with a scripted party."""

    def __init__(self) -> None:
        super().__init__()
        self.scripted = Scripted()

    def make_party(self, name: str, local: Path) -> Party:
        return self.scripted

    def ask(self, phase: str, number: int) -> Message:
        return unpack_reply(self._answer(TOPIC, pack_request(phase, number, {}), None))


def test_whatever_fails_at_a_site_is_a_fixed_code_and_never_its_text() -> None:
    executor = Executor()
    assert executor.ask("fail", 1) == {"refused": "site_failed"}
    assert unpack_reply(executor._answer(TOPIC, Shareable(), None)) == {
        "refused": "message_refused"
    }
    assert executor.ask("mask", 2) == {"phase": "mask"}


def test_a_message_is_answered_once_and_none_after_a_newer_one() -> None:
    executor = Executor()
    assert executor.ask("share", 5) == {"phase": "share"}
    for number in (5, 4):
        assert executor.ask("unmask", number) == {"refused": "stale"}
    assert executor.scripted.handled == ["share"]


def test_a_process_says_that_it_is_there_while_it_works() -> None:
    executor = Executor()
    with executor._lock:  # as while a message is handled
        assert executor._here(THERE, Shareable(), None).get_return_code() == ReturnCode.OK


def test_messages_that_come_together_are_handled_one_at_a_time() -> None:
    executor = Executor()
    threads = [
        threading.Thread(target=executor.ask, args=("mask", number)) for number in range(1, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert executor.scripted.handled  # one that came after a newer one is refused
    assert executor.scripted.most == 1


def test_a_site_does_no_task_of_flares() -> None:
    reply = Executor().execute("train", Shareable(), None, Signal())
    assert reply.get_return_code() == ReturnCode.TASK_UNKNOWN


def test_a_job_names_two_classes_without_arguments_and_brings_no_code(tmp_path: Path) -> None:
    parts = JobParts("one", NAMES, 2, "a.B", "c.D", {"config.toml": b"x"})
    folder = make_job(tmp_path / "job", parts)
    config = folder / "app" / "config"
    server = json.loads((config / "config_fed_server.json").read_text())
    client = json.loads((config / "config_fed_client.json").read_text())
    assert server["workflows"] == [{"id": "coordinator", "path": "a.B", "args": {}}]
    assert [one["executor"] for one in client["executors"]] == [{"path": "c.D", "args": {}}]
    assert server["components"] == client["components"] == []
    assert server["server"]["task_request_interval"] == 0.2
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["deploy_map"] == {"app": ["server", *NAMES]}
    assert meta["min_clients"] == 2
    assert not [path for path in folder.rglob("*") if path.suffix not in {"", ".json", ".toml"}]
