"""The `benchbed` command: its subcommands, and errors as one line with the documented exit code."""

import errno
import os
import signal
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from benchbed import __version__
from benchbed.cli import (
    backbones,
    compare,
    data,
    doctor,
    eval,
    export,
    inspect,
    leaderboard,
    pretrain,
    quickstart,
    resample,
    study,
    submit,
    tasks,
    verify,
)
from benchbed.errors import BenchbedError
from benchbed.records.disk import FULL, refused

INTERRUPTED = 130

app = typer.Typer(
    name="benchbed",
    help="Rank pretrained vision backbones by fine-tuning them under fixed protocols.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 run failed, 2 usage, 3 data set missing or invalid, "
    "4 checkpoint rejected, 5 some of several jobs failed, 130 interrupted.",
)
app.command("quickstart")(quickstart.quickstart)
app.command("pretrain")(pretrain.pretrain)
app.command("eval")(eval.evaluate)
app.command("inspect")(inspect.inspect)
app.command("study")(study.study)
app.add_typer(submit.leaderboard_group(leaderboard.leaderboard), name="leaderboard")
app.command("compare")(compare.compare)
app.command("verify")(verify.verify)
app.command("resample")(resample.resample)
app.add_typer(export.app, name="export")
app.add_typer(tasks.app, name="tasks")
app.add_typer(backbones.app, name="backbones")
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"benchbed {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
) -> None:
    """Rank pretrained vision backbones by fine-tuning them under fixed protocols."""
    if debug:
        os.environ["BENCHBED_DEBUG"] = "1"


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""


def main() -> NoReturn:
    """Run the command line; every failure ends in one line and its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        arguments = sys.argv[1:]
        app(arguments, obj=tuple(arguments))
    except BenchbedError as error:
        _fail(str(error), error.exit_code)
    except Interrupted:
        _fail("interrupted; what is done is kept: the same command goes on", INTERRUPTED)
    except Exception as error:
        _fail(_unexpected(error), 1)
    sys.exit(0)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in FULL | {errno.EROFS}:
        return str(refused(error.filename or "a file", error))
    return f"unexpected {type(error).__name__}: {error} (details: benchbed --debug …)"


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise Interrupted


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get("BENCHBED_DEBUG"):
        traceback.print_exc()
    for line in message.splitlines():
        typer.echo(f"error: {line}", err=True)
    sys.exit(code)
