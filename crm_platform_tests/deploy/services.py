"""The services of deploy/compose.yaml as processes of this machine: their own commands, files, environment and order.

What Compose alone can do is left out: the image, networks (its host names become loopback, its ports free ones), volumes.
"""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
PORTS = ("3000", "4000", "8710")
"""Of the UI, the code server and the sandbox, as compose.yaml has them."""
SMALL = ("--accounts", "10", "--days", "2", "--extra-days", "0")
PATIENCE = 120


class Services:
    """The folder that the image would hold, and what runs in it.

    `ports` gives every port of compose.yaml the free one that stands for it; `log` is all that the services wrote.
    """

    def __init__(self, folder: Path, database: Mapping[str, str]) -> None:
        self.folder, self.home = folder / "crm_platform", folder / "dagster"
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.environment = self._environment(folder, database)
        self.compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for made in (self.folder, self.home):
            made.mkdir()
        shutil.copyfile(DEPLOY / "dagster.yaml", self.home / "dagster.yaml")
        for name in ("crm_platform.yaml", "workspace.yaml"):
            told = self._here((DEPLOY / name).read_text(encoding="utf-8"))
            (self.folder / name).write_text(told, encoding="utf-8")

    @property
    def log(self) -> str:
        """All that the services said."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{file.stem}: {file.read_text(encoding='utf-8', errors='replace')}" for file in files)

    def url(self, port: str) -> str:
        """Where a service answers, by its port in compose.yaml."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def done(self, name: str) -> None:
        """Runs a service that ends by itself."""
        self.start(name)
        assert self.running[name].wait(timeout=PATIENCE) == 0, self.log

    def start(self, name: str, *more: str) -> None:
        """Starts a service with its command of compose.yaml."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [*self._command(self.compose[name]["command"]), *more],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def healthy(self, name: str) -> None:
        """Waits until a service's own health check passes."""
        kind, *words = self.compose[name]["healthcheck"]["test"]
        assert kind == "CMD"
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(
            self._command(words), cwd=self.folder, env=self.environment, capture_output=True, check=False
        ).returncode:
            assert self.running[name].poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.5)

    def stop(self) -> None:
        """Stops what runs, the newest first, as Compose does."""
        for process in reversed(self.running.values()):
            process.terminate()
            process.wait(timeout=60)

    def _command(self, words: list[str]) -> list[str]:
        program, *arguments = words
        return [str(BIN / program), *(self.ports.get(one, one).replace("0.0.0.0", "127.0.0.1") for one in arguments)]  # noqa: S104  what is replaced

    def _here(self, text: str) -> str:
        """A file of deploy/ with this machine's places for those of the image and the network."""
        moved = text.replace("/srv/dagster", str(self.home))
        moved = moved.replace("//sandbox:", "//127.0.0.1:").replace("host: code", "host: 127.0.0.1")
        return re.sub(r"\b(3000|4000|8710)\b", lambda found: self.ports[found[0]], moved)

    def _environment(self, folder: Path, database: Mapping[str, str]) -> dict[str, str]:
        """What the image and deploy/.env set, and nothing else: a copy of the example, filled in."""
        example = (DEPLOY / "env.example").read_text(encoding="utf-8")
        filled = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)) | database
        image = {"DAGSTER_HOME": str(self.home), "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
        return {**filled, **image, "PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder)}


@contextmanager
def services_in(folder: Path, database: Mapping[str, str]) -> Iterator[Services]:
    """All services of compose.yaml, started in the order that it asks for; stopped afterwards."""
    services = Services(folder, database)
    try:
        services.start("sandbox", *SMALL)
        services.done("prepare")
        services.start("code")
        services.healthy("code")
        services.start("webserver")
        services.start("daemon")
        yield services
    finally:
        services.stop()


def _free_ports(count: int) -> list[str]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found
