"""Writes exports into files, one at a time in each process that answers the API.

A line of ``sync.export`` is claimed for a minute at a time. Whoever writes it tells each second how
far it is, and learns by that that it was deleted. What a process leaves half written another one
begins anew. Everything here waits for the database or the disk, in threads of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central import exports
from central.documents import to_json
from central.reports.answer import is_provisional
from central.reports.whole import Form, Whole
from shared.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from psycopg import Connection

    from central.reports.paging import Statement
    from central.reports.question import Question

    #: Makes the question, and its statement, of a report's name, its parameters and sites.
    Put = Callable[
        [tuple[str, ...], str, Mapping[str, Any]], tuple[Question, Callable[[Question], Statement]]
    ]

_log = logging.getLogger(__name__)

#: Seconds between two looks for one that waits, and for files that nobody gets any more.
LOOK_S: Final = 1.0
SWEEP_S: Final = 60.0
#: Seconds between two words of how far one is, and for how long the last one counts.
BEAT_S: Final = 1.0
ALIVE_S: Final = 60
#: Seconds that one may take, bytes of its file, and how often it is begun.
EXPORT_MAX_S: Final = 6 * 3600
FILE_MAX: Final = 4 << 30
TRIES_MAX: Final = 3
#: Bytes that are left free on the disk, and that are written between two looks at it.
FREE_MIN: Final = 1 << 30
_LOOK_BYTES: Final = 16 << 20


class _Given(SyncError):
    """It is given up: the reason is for who asked."""


@dataclass(slots=True)
class _Job:
    """An export that is being written."""

    id: str
    sites: tuple[str, ...]
    report: str
    query: dict[str, Any]
    form: Form
    tries: int
    #: Bytes of the other files of who asked.
    others: int
    rows_expected: int | None = None
    #: What is being read; its connection is cancelled where nobody wants it any more.
    whole: Whole | None = None
    bytes: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    @property
    def rows(self) -> int:
        return max(self.whole.rows, 0) if self.whole else 0

    @property
    def part(self) -> str:
        """Name of the file while it is written: of this try alone."""
        return f"{self.id}.{self.tries}.part"


@dataclass(slots=True)
class Exporter:
    """Writes the exports that wait."""

    #: As mes_ingest, for the lines; and as the role that row-level security binds.
    url: str
    reading_url: str
    folder: Path
    put: Put
    _stop: threading.Event = field(default_factory=threading.Event)

    async def keep_writing(self) -> None:
        """Write what waits until cancelled; what is half written then waits again."""
        swept_s = float("-inf")
        while True:
            found = False
            try:
                if time.monotonic() - swept_s >= SWEEP_S:
                    await self._in_thread(self.sweep)
                    swept_s = time.monotonic()
                found = await self._in_thread(self.write_one)
            except (psycopg.Error, OSError) as error:
                _log.warning("exports wait: %s", error)
            if not found:
                await asyncio.sleep(LOOK_S)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """Do something in a thread, and be cancelled only once that has ended."""
        running = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._stop.set()
            with suppress(psycopg.Error, OSError):
                await running
            raise

    def write_one(self) -> bool:
        """Write one export that waits, of each who asks in turn; return whether there was one."""
        with psycopg.connect(self.url, autocommit=True) as lines:
            job = _claimed(lines)
            if job is None:
                return False
            beat = _Beat(self.url, job, self._stop)
            beat.start()
            try:
                self._write(lines, job, beat)
            finally:
                beat.end()
                with suppress(OSError):  # it is swept then
                    (self.folder / job.part).unlink(missing_ok=True)
        return True

    def _write(self, lines: Connection[Any], job: _Job, beat: _Beat) -> None:
        try:
            told = self._read(job, beat)
        except Exception as error:
            beat.end()
            if beat.is_gone:
                return  # deleted
            if self._stop.is_set():
                lines.execute(_WAIT_AGAIN, [job.id, job.tries])
                return
            if job.whole is None and isinstance(error, psycopg.OperationalError):
                # What is read is away, and that is no fault of the export: it was no try.
                lines.execute(_WAIT_AGAIN, [job.id, job.tries])
                raise
            if beat.is_lost or (
                isinstance(error, psycopg.OperationalError)
                and not isinstance(error, psycopg.errors.QueryCanceled)
            ):
                raise  # its time ends, and it is begun anew
            lines.execute(_FAIL, [_why(job, error), job.rows, job.bytes, job.id, job.tries])
            return
        beat.end()
        with lines.transaction():
            # Somebody else may have begun it anew meanwhile, and have its file there.
            if lines.execute(_DONE, told | {"id": job.id, "tries": job.tries}).rowcount:
                os.replace(self.folder / job.part, self.folder / f"{job.id}.{job.form}")

    def _read(self, job: _Job, beat: _Beat) -> dict[str, Any]:
        """Read the rows into a file; return what is known of them."""
        if job.tries > TRIES_MAX:
            raise _Given(f"whoever wrote it ended {TRIES_MAX} times before it was written")
        question, made = self.put(job.sites, job.report, job.query)
        question = replace(question, limit=None)
        job.whole = whole = Whole.begun(self.reading_url, question, made, longest_s=EXPORT_MAX_S)
        with whole.connection:
            beat.check()  # what was to be cancelled before there was anything to cancel
            job.rows_expected = whole.count()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = os.open(self.folder / job.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(place, "wb") as file:
                looked = -_LOOK_BYTES
                for block in whole.blocks(job.form):
                    beat.check()
                    if job.bytes - looked >= _LOOK_BYTES:
                        check_disk(self.folder)
                        looked = job.bytes
                    file.write(block)
                    job.sha256.update(block)
                    job.bytes += len(block)
                    check_size(job.bytes, job.others)
                file.flush()
                os.fsync(file.fileno())
        beat.check()
        fresh = whole.fresh
        return {
            "rows": job.rows, "expected": job.rows_expected,
            "bytes": job.bytes, "sha256": job.sha256.digest(), "as_of": fresh.as_of,
            "known": to_json(fresh.through), "provisional": is_provisional(question, fresh),
            "archived": whole.archived_not_counted,
        }  # fmt: skip

    def sweep(self) -> None:
        """Delete what is past its time, and files that no export has."""
        if not self.folder.is_dir():
            return
        with psycopg.connect(self.url, autocommit=True) as lines:
            files = [each for each in self.folder.iterdir() if each.is_file()]
            lines.execute("DELETE FROM sync.export WHERE expires_at <= now()")
            rows = lines.execute("SELECT id::text, form, tries FROM sync.export").fetchall()
        wanted = {
            name
            for export_id, form, tries in rows
            for name in (f"{export_id}.{form}", f"{export_id}.{tries}.part")
        }
        for file in files:
            if file.name not in wanted and _OURS.fullmatch(file.name):
                file.unlink(missing_ok=True)


def check_size(size: int, others: int) -> None:
    """Raise where a file, or all files of who asked, are larger than they may be, in bytes."""
    if size > FILE_MAX:
        raise _Given(f"it is larger than {FILE_MAX >> 30} GiB: ask for less")
    if size + others > exports.BYTES_MAX:
        raise _Given(
            f"your exports would take more than {exports.BYTES_MAX >> 30} GiB together: delete some"
        )


def check_disk(folder: Path) -> None:
    """Raise where a disk is so full that no export is to fill it further."""
    if shutil.disk_usage(folder).free < FREE_MIN:
        raise _Given(
            "the disk of the exports is nearly full: delete some, or have your administrator make"
            " room below MES_EXPORT_DIR"
        )


#: Names of our files: whatever else lies in the folder is somebody's own.
_OURS: Final = re.compile(
    rf"[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\.(\d+\.part|{'|'.join(Form)})"
)


class _Beat(threading.Thread):
    """Tells each second how far an export is, and ends it where nobody wants it any more."""

    def __init__(self, url: str, job: _Job, stop: threading.Event) -> None:
        super().__init__(name=f"export {job.id}", daemon=True)
        self._url, self._job, self._stop_all = url, job, stop
        self._ended = threading.Event()
        self.is_gone = False
        #: The database does not hear how far it is.
        self.is_lost = False

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as lines:
                while not self._ended.wait(BEAT_S):
                    self._tell(lines)
                    if self.is_gone or self._stop_all.is_set():
                        self._cancel()
        except psycopg.Error:
            self.is_lost = True
            self._cancel()

    def _tell(self, lines: Connection[Any]) -> None:
        job = self._job
        given = [ALIVE_S, job.rows, job.bytes, job.rows_expected, job.id, job.tries]
        self.is_gone = not lines.execute(_TELL, given).rowcount

    def _cancel(self) -> None:
        if self._job.whole is not None:
            with suppress(psycopg.Error):
                self._job.whole.connection.cancel_safe(timeout=5)

    def check(self) -> None:
        """Raise where it is not to go on."""
        if self.is_lost:
            raise psycopg.OperationalError("the database went away")
        if self.is_gone or self._stop_all.is_set():
            raise _Given("it was stopped")

    def end(self) -> None:
        """Tell no more."""
        self._ended.set()
        self.join()


#: Of those who wait, whoever has fewest at work goes first, then who was served longest ago.
_CLAIM: Final = """
UPDATE sync.export AS e
SET state = 'running', begun_at = coalesce(begun_at, now()), tries = tries + 1,
    rows = 0, bytes = 0, alive_until = now() + make_interval(secs => %s)
WHERE id = (
    SELECT w.id FROM sync.export AS w CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE o.state = 'running' AND o.alive_until >= now()) AS at_work,
               max(o.begun_at) AS served
        FROM sync.export AS o WHERE o.who = w.who) AS own
    WHERE w.state = 'waiting' OR (w.state = 'running' AND w.alive_until < now())
    ORDER BY own.at_work, own.served NULLS FIRST, w.id LIMIT 1 FOR UPDATE OF w SKIP LOCKED)
RETURNING id::text, sites, report, query, form, tries, (
    SELECT coalesce(sum(o.bytes), 0)::bigint FROM sync.export AS o
    WHERE o.who = e.who AND o.id <> e.id AND o.state <> 'failed')"""
_OWN: Final = "WHERE id = %s AND tries = %s AND state = 'running'"
_TELL: Final = f"""
UPDATE sync.export SET alive_until = now() + make_interval(secs => %s), rows = %s, bytes = %s,
    rows_expected = %s {_OWN}"""
_WAIT_AGAIN: Final = f"""
UPDATE sync.export SET state = 'waiting', tries = tries - 1, rows = 0, bytes = 0 {_OWN}"""
_FAIL: Final = f"""
UPDATE sync.export SET state = 'failed', why = %s, rows = %s, bytes = %s, ended_at = now() {_OWN}"""
_DONE: Final = """
UPDATE sync.export SET state = 'done', ended_at = now(), rows = %(rows)s,
    rows_expected = %(expected)s, bytes = %(bytes)s,
    sha256 = %(sha256)s, as_of = %(as_of)s, complete_through = %(known)s,
    provisional = %(provisional)s, archived_not_counted = %(archived)s
WHERE id = %(id)s AND tries = %(tries)s AND state = 'running'"""


def _claimed(lines: Connection[Any]) -> _Job | None:
    found = lines.execute(_CLAIM, [ALIVE_S]).fetchone()
    if found is None:
        return None
    export_id, sites, report, query, form, tries, others = found
    return _Job(export_id, tuple(sites), report, dict(query), Form(form), tries, others)


def _why(job: _Job, error: Exception) -> str:
    """Return why an export failed, for who asked."""
    match error:
        case psycopg.errors.QueryCanceled():
            return f"it took longer than {EXPORT_MAX_S // 3600} hours: ask for less"
        case OSError():
            _log.error("export %s can't be written: %s", job.id, error)
            return f"its file can't be written: {error.strerror}"
        case SyncError():
            return str(error)
        case _:
            _log.error("export %s", job.id, exc_info=error)
            return "something went wrong; it is logged"
