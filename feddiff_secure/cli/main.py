"""The entry point: commands, and the one place where errors become two lines and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Protocol, runtime_checkable

import typer

from feddiff_secure.cli.audit_command import audit_app
from feddiff_secure.cli.bench_command import bench
from feddiff_secure.cli.budget_command import budget
from feddiff_secure.cli.cache_command import cache_app
from feddiff_secure.cli.console import print_error
from feddiff_secure.cli.diff_command import reports_app
from feddiff_secure.cli.federation_commands import abort, coordinator_app, status
from feddiff_secure.cli.grouped_help import group_help
from feddiff_secure.cli.init_command import init
from feddiff_secure.cli.inspect_command import data_app
from feddiff_secure.cli.node_command import node_app
from feddiff_secure.cli.predict_command import predict
from feddiff_secure.cli.provision_command import provision_app
from feddiff_secure.cli.resume_command import resume
from feddiff_secure.cli.run_command import run
from feddiff_secure.cli.submit_command import submit
from feddiff_secure.errors import FeddiffError
from feddiff_secure.version import __version__

app = typer.Typer(
    name="feddiff-secure",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Private land-cover models from hyperspectral and LiDAR data of several organisations.",
)
_TRAIN, _TRUST, _MACHINE = "Train and predict", "Check and account", "Organisation and machine"
app.command(rich_help_panel=_TRAIN)(init)
app.command(rich_help_panel=_TRAIN)(run)
app.command(rich_help_panel=_TRAIN)(resume)
app.command(rich_help_panel=_TRAIN)(predict)
app.add_typer(data_app, name="data", rich_help_panel=_TRAIN)
app.command(rich_help_panel=_TRAIN)(bench)
app.add_typer(reports_app, name="report", rich_help_panel=_TRAIN)
app.command(rich_help_panel=_TRUST)(budget)
app.add_typer(audit_app, name="audit", rich_help_panel=_TRUST)
app.add_typer(node_app, name="node", rich_help_panel=_MACHINE)
app.add_typer(provision_app, name="provision", rich_help_panel=_MACHINE)
app.add_typer(coordinator_app, name="coordinator", rich_help_panel=_MACHINE)
app.command(rich_help_panel=_MACHINE)(submit)
app.command(rich_help_panel=_MACHINE)(status)
app.command(rich_help_panel=_MACHINE)(abort)
app.add_typer(cache_app, name="cache", rich_help_panel=_MACHINE)
group_help(app)

INTERRUPTED = 130


@runtime_checkable
class _UsageMessage(Protocol):
    """The command-line library's own errors, whichever package its version keeps them in."""

    def format_message(self) -> str: ...


def _print_version(value: bool) -> None:  # the signature typer calls
    if value:
        typer.echo(f"feddiff-secure {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(  # handled by its callback
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Private land-cover models from hyperspectral and LiDAR data of several organisations.

    Examples:

      feddiff-secure run --epsilon 8

      feddiff-secure audit verify runs/first
    """


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    code = run_cli(sys.argv[1:])
    if code != 0 and "h5py" in sys.modules:
        # After a write that failed (a full disk), the HDF5 library crashes while the interpreter
        # shuts down, and the code would be lost. Whatever had to be kept is on disk by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run_cli(arguments: list[str]) -> int:
    """Run one command; returns its exit code. A user's mistake never shows a traceback."""
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: not the user's to mend
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name="feddiff-secure", standalone_mode=False)
    except FeddiffError as error:
        print_error(str(error), error.hint)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print_error("interrupted", "start the command again")
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error, _UsageMessage):
            raise  # a bug: exit 1 with its traceback
        if not arguments or type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            return 0
        command_path = getattr(getattr(error, "ctx", None), "command_path", "feddiff-secure")
        print_error(error.format_message() or type(error).__name__, f"see {command_path} --help")
        return 2
    return result if isinstance(result, int) else 0
