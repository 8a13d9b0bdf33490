"""Settings of the centre's processes and of its commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the settings are read by their types

from shared.changes import TOMBSTONE_DAYS
from shared.errors import BadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralSettings:
    """What the centre needs to know; each field is the variable ``MES_<FIELD>``."""

    database_url: str = field(metadata={"help": "PostgreSQL of the centre, as mes_ingest"})
    admin_url: str = field(
        default="", metadata={"help": "PostgreSQL as a role that may migrate; else database_url"}
    )
    nats_servers: tuple[str, ...] = field(
        default=("nats://127.0.0.1:4222",), metadata={"help": "addresses of the brokers"}
    )
    nats_creds: Path | None = field(default=None, metadata={"help": "the centre's credentials"})
    nats_replicas: int = field(default=1, metadata={"help": "copies of each stream: 1 or 3"})
    nats_stream_mib: int = field(
        default=256, metadata={"help": "MiB that each stream may hold; the broker reserves them"}
    )
    keys_dir: Path | None = field(
        default=None, metadata={"help": "folder with the operator's and the accounts' keys"}
    )
    catalogue_dirs: tuple[Path, ...] = field(
        default=(), metadata={"help": "folders with plants' own table files, parted by ':'"}
    )
    workers: int = field(default=1, metadata={"help": "ingest processes that run starts"})
    connections: int = field(default=3, metadata={"help": "sites applied at once by one worker"})
    lease_s: float = field(
        default=10.0, metadata={"help": "how long a worker holds a site without renewing, s"}
    )
    safe_after_s: float = field(
        default=86_400.0,
        metadata={"help": "with no backup marked: edges keep what was applied for this long, s"},
    )
    backup_hours: float = field(
        default=26.0,
        metadata={"help": "once backups are marked: the newest is not to be older than this, h"},
    )
    feed_days: float = field(default=14, metadata={"help": "days that feed entries are kept"})
    version_days: float = field(
        default=90,
        metadata={"help": "days that versions which a write may be based on are kept; 0 for ever"},
    )
    history_days: float = field(
        default=3650,
        metadata={"help": "days that conflicts and parked rows are kept once settled; 0 for ever"},
    )
    fact_days: int = field(
        default=31, metadata={"help": "days of facts that a new store gets with its snapshot"}
    )
    rollup_check_hours: float = field(
        default=24.0,
        metadata={
            "help": "hours until a site's rollups are held against its facts again; 0: never"
        },
    )
    archive_dir: Path | None = field(
        default=None, metadata={"help": "folder of archived months; the API reads them there"}
    )
    archive_after_months: int = field(
        default=0,
        metadata={"help": "months after which those of facts are archived by themselves; 0: never"},
    )
    export_dir: Path | None = field(
        default=None, metadata={"help": "folder of exports of the API, of their own"}
    )
    export_days: float = field(default=7, metadata={"help": "days that an export is kept"})
    api_port: int = field(default=0, metadata={"help": "port of metrics and API; 0 for none"})
    api_host: str = field(default="127.0.0.1", metadata={"help": "address that the API listens on"})
    api_rate: float = field(
        default=50.0,
        metadata={
            "help": "requests a second of one key or token, four seconds' at once; 0 for any"
        },
    )
    metrics_token_file: Path | None = field(
        default=None,
        metadata={"help": "file with the token of Prometheus; else this machine alone has metrics"},
    )
    api_database_url: str = field(
        default="", metadata={"help": "PostgreSQL as mes_api; else MES_DATABASE_URL in its role"}
    )
    oidc_issuer: str = field(
        default="", metadata={"help": "identity provider whose tokens the API takes; an https URL"}
    )
    oidc_audience: str = field(
        default="", metadata={"help": "what its tokens have to be for, as their `aud` says"}
    )
    oidc_grants_claim: str = field(
        default="mes_grants", metadata={"help": "where a token has the grants: realm_access.roles"}
    )
    oidc_client_id: str = field(
        default="", metadata={"help": "this system at that provider: people sign in there"}
    )
    oidc_client_secret_file: Path | None = field(
        default=None, metadata={"help": "file with its secret there; none for a public client"}
    )
    oidc_scopes: str = field(
        default="openid", metadata={"help": "what is asked for there, parted by spaces"}
    )
    public_url: str = field(
        default="", metadata={"help": "how browsers reach the dashboard: https://mes.example.com"}
    )
    audit_days: float = field(
        default=400, metadata={"help": "days that the audit log of the API is kept; 0 for ever"}
    )
    known_days: float = field(
        default=800,
        metadata={"help": "days that what was known earlier can be asked for; 0 for ever"},
    )
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})

    def __post_init__(self) -> None:
        """Refuse what can't be kept, or what the sites could not follow."""
        if not self.backup_hours > 0:
            raise BadSetting(f"MES_BACKUP_HOURS={self.backup_hours} is not above 0")
        if not 0 < self.feed_days < TOMBSTONE_DAYS:
            raise BadSetting(
                f"MES_FEED_DAYS={self.feed_days:g} is not above 0 and below {TOMBSTONE_DAYS}:"
                f" sites remember a deletion for {TOMBSTONE_DAYS} days"
            )
        self._check_archive()
        self._check_exports()
        for name in ("version_days", "history_days", "audit_days", "known_days"):
            if getattr(self, name) < 0:
                raise BadSetting(
                    f"MES_{name.upper()}={getattr(self, name):g} must not be negative; 0 keeps for"
                    " ever"
                )
        if self.rollup_check_hours < 0:
            raise BadSetting(
                f"MES_ROLLUP_CHECK_HOURS={self.rollup_check_hours:g} must not be negative; 0 is"
                " never"
            )
        if not self.api_rate >= 0:
            raise BadSetting(f"MES_API_RATE={self.api_rate:g} must not be negative; 0 is no limit")

    def _check_exports(self) -> None:
        if self.export_dir is not None and not self.export_dir.is_absolute():
            raise BadSetting(
                f"MES_EXPORT_DIR={self.export_dir} is to begin with /: all processes of the API"
                " share it"
            )
        if not self.export_days > 0:
            raise BadSetting(f"MES_EXPORT_DAYS={self.export_days:g} is not above 0")

    def _check_archive(self) -> None:
        if self.archive_after_months < 0:
            raise BadSetting(
                f"MES_ARCHIVE_AFTER_MONTHS={self.archive_after_months} must not be negative; 0 is"
                " for never"
            )
        if self.archive_dir is not None and not self.archive_dir.is_absolute():
            raise BadSetting(
                f"MES_ARCHIVE_DIR={self.archive_dir} is to begin with /: several programs read it,"
                " each where it was started"
            )
        if self.archive_after_months and self.archive_dir is None:
            raise BadSetting("MES_ARCHIVE_AFTER_MONTHS needs a folder: set MES_ARCHIVE_DIR")
