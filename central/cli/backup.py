"""``mes-central backup``."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from central.cli import exits
from central.cli.given import load_environment, now, settings
from central.cli.look import as_json, local, say, say_json, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from central.backups import Backup, Mark
    from central.settings import CentralSettings

#: As shells say that a command was not found, or can't be run.
_NO_COMMAND: Final = 127
_NOT_RUN: Final = 126
_BY_SIGNAL: Final = 128


@click.group()
def backup() -> None:
    """Tell which backups the centre may be restored from: sites keep what is not in the oldest.

    Mark each before it is taken and when it is finished, and as gone when it is deleted; or let
    run do the first two. docs/backups.md tells how, and what to do after a restore.
    """


# --- names -----------------------------------------------------------------------------------


def _name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    del ctx, param
    from central.backups import check_name

    return check_name(value)


def _known_names(ctx: click.Context, param: click.Parameter, start: str) -> list[str]:
    """Return the backups that something may still be said of; none where nobody can be asked."""
    del param
    from central.backups import Mark

    try:
        env_file = ctx.find_root().params.get("env_file")
        if env_file is not None:
            load_environment(env_file)
        found = asyncio.run(_read(settings()))
    except Exception as error:
        if exits.verdict_on(error) is None:
            raise
        return []
    return [b.name for b in found if b.state is not Mark.GONE and b.name.startswith(start)]


def _named(command: Any) -> Any:
    return click.argument(
        "name", metavar="NAME", callback=_name, shell_complete=_known_names
    )(command)  # fmt: skip


# --- mark ------------------------------------------------------------------------------------


@backup.command()
@_named
@click.option("--finished", "said", flag_value="finished", help="It is complete: it counts now.")
@click.option("--failed", "said", flag_value="failed", help="It did not come about: it is nothing.")
@click.option("--gone", "said", flag_value="gone", help="It can no longer be restored.")
@as_json
def mark(name: str, said: str | None, *, json_wanted: bool) -> int:
    """Mark a backup that is about to be taken, or say what became of it. Harmless to repeat.

    Without an option it is begun: what is committed by then is in it for certain. It has to be
    taken after that, from this server. Sites keep what it lacks until it is gone.
    """
    from central.backups import Mark

    read = settings()
    found, changed = asyncio.run(_mark(read, name, Mark(said or "begun")))
    if json_wanted:
        say_json({
            "schema": "mes-central.backup-mark/v1", "changed": changed, **_document(found),
        })  # fmt: skip
        return exits.OK
    say(f"{name}  {found.state}{'' if changed else ', as was said before'}")
    if found.state is Mark.BEGUN:
        say(f"next: take it, then mes-central backup mark {name} --finished")
        return exits.OK
    for line in _said_of_all(asyncio.run(_read(read)), read, now()):
        say(line)
    return exits.OK


async def _mark(read: CentralSettings, name: str, said: Mark) -> tuple[Backup, bool]:
    import psycopg

    from central.backups import find_backup, set_mark

    async with await psycopg.AsyncConnection.connect(
        read.database_url, autocommit=True
    ) as connection:
        changed = await set_mark(connection, name, said)
        return await find_backup(connection, name), changed


# --- run -------------------------------------------------------------------------------------


@backup.command(context_settings={"ignore_unknown_options": True})
@_named
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
def run(name: str, command: Sequence[str]) -> int:
    """Take a backup by a command: mark it, run the command, mark what came of it.

    Exit code 0 of the command means that the backup is complete. Its exit code is passed on; a
    command that a signal ended gives 128 and the signal's number. A name that failed may be run
    again.

    mes-central backup run nightly-1 -- pg_basebackup -D /backup/nightly-1
    """
    from central.backups import Mark, NotMarked

    read = settings()
    with _ending() as ending:
        _, changed = asyncio.run(_mark(read, name, Mark.BEGUN))
        if not changed:
            raise NotMarked(
                f"{name} was begun and may still be taken; if it is not, then"
                f" `mes-central backup mark {name} --failed`, and run it again"
            )
        return _run_and_mark(read, name, command, ending)


def _run_and_mark(read: CentralSettings, name: str, command: Sequence[str], ending: _Ending) -> int:
    from central.backups import Mark

    code = exits.FAILED
    try:
        code = _run_command(command, ending)
    finally:
        said = Mark.FINISHED if code == exits.OK else Mark.FAILED
        click.echo(f"{name}  {said}", err=True)
        try:
            asyncio.run(_mark(read, name, said))
        except Exception:
            click.echo(
                f"{name}  not marked: mes-central backup mark {name} --{said.value}", err=True
            )
            raise
    return code


class _Ending:
    """Passes a signal to end on to the command, which decides when it has ended.

    One that comes before the command is there is passed on as soon as it is.
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._told = False

    def tell(self, *_: object) -> None:
        """Tell the command to end."""
        self._told = True
        if self._running is not None:
            self._running.terminate()

    def started(self, running: subprocess.Popen[bytes]) -> None:
        """Hear of the command."""
        self._running = running
        if self._told:
            running.terminate()


@contextmanager
def _ending() -> Iterator[_Ending]:
    """Have signals to end passed on. Ctrl-C reaches the command from the terminal as it does us."""
    ending = _Ending()
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, ending.tell),
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
    }
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_command(command: Sequence[str], ending: _Ending) -> int:
    """Run a command to its end and return its exit code, as a shell would give it.

    It is told to end where this process is, and waited for: what it leaves is not half marked.
    """
    try:
        with subprocess.Popen(list(command)) as running:  # noqa: S603
            ending.started(running)
            code = running.wait()
    except FileNotFoundError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        return _NO_COMMAND
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        return _NOT_RUN
    return _BY_SIGNAL - code if code < 0 else code


# --- list ------------------------------------------------------------------------------------


@backup.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that failed or are gone.")
@as_json
def list_backups(*, every: bool, json_wanted: bool) -> int:
    """List the backups that may be restored, and those that are being taken, the latest first."""
    from central.backups import Mark, summary

    read = settings()
    known = asyncio.run(_read(read))
    found = [b for b in known if every or b.state in (Mark.BEGUN, Mark.FINISHED)]
    seen = summary(known, read.backup_hours)
    if json_wanted:
        say_json({
            "schema": "mes-central.backups/v1", "ever_finished": seen.ever_finished,
            "oldest": seen.oldest.name if seen.oldest else None,
            "newest": seen.newest.name if seen.newest else None,
            "backups": [_document(each) for each in found],
        })  # fmt: skip
        return exits.OK
    at = now()
    rows = [(b.name, b.state, local(b.begun_at), _ago(b, at), _took(b)) for b in found]
    for line in table(("NAME", "STATE", "BEGUN", "AGE", "TOOK"), rows) if rows else []:
        say(line)
    for line in _said_of_all(known, read, at):
        say(line)
    return exits.OK


def _said_of_all(known: Sequence[Backup], read: CentralSettings, at: datetime) -> Iterator[str]:
    from central.backups import summary, why_late, why_unended
    from central.status import age

    seen = summary(known, read.backup_hours)
    if not seen.ever_finished:
        kept = age(timedelta(seconds=read.safe_after_s))
        yield f"no backup was ever finished: sites keep what they sent for {kept}"
        yield "next: mes-central backup run NAME -- COMMAND..."
    elif seen.oldest:
        began = age(at - seen.oldest.begun_at)
        yield f"sites keep what is not in the oldest, {seen.oldest.name}, begun {began} ago"
    for why in (why_late(seen, at), why_unended(seen, at)):
        if why:
            yield from wrapped(f"warning: {why}", 2)


def _ago(found: Backup, at: datetime) -> str:
    from central.status import age

    return age(at - found.begun_at)


def _took(found: Backup) -> str | None:
    from central.status import age

    ended = found.finished_at or found.failed_at
    return age(ended - found.begun_at) if ended else None


def _document(found: Backup) -> dict[str, Any]:
    return asdict(found) | {"state": found.state.value}


async def _read(read: CentralSettings) -> list[Backup]:
    import psycopg

    from central.backups import read_backups

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        return await read_backups(connection)
