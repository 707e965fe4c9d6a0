"""A Docker engine for the compose test: the one that runs, or one of its own.

An engine of its own runs in mount and process namespaces of its own, with all its files
in one directory, without NAT and without the default bridge. When its first process
ends, everything that it started and mounted is gone, and the host's firewall rules and
interfaces are as before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.services import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
PUBLIC_IMAGES = {"PYTHON_IMAGE": "python:3.11-slim", "MOSQUITTO_IMAGE": "eclipse-mosquitto:2"}
LOCAL_IMAGES = {
    "PYTHON_IMAGE": "sparkplug-zerobus-base/python:local",
    "MOSQUITTO_IMAGE": "sparkplug-zerobus-base/mosquitto:local",
}

# dockerd and the containerd that it starts write to these places whatever their
# options say, so they get empty ones that vanish with the mount namespace.
_PLACES = ("/etc/docker", "/run/docker", "/run/containerd", "/opt")
_PROLOGUE = 'for place in {places}; do mount -t tmpfs none "$place"; done; exec "$@"'
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class EngineUnavailable(Exception):  # noqa: N818  (a reason to skip, not an error)
    """No engine can be had on this machine; the text says why."""


@dataclass(frozen=True)
class Engine:
    """Where an engine listens, and how to call its clients."""

    environment: Mapping[str, str]
    own: bool
    """Started by this test: no NAT, and gone afterwards."""
    compose: tuple[str, ...] = field(default=())

    def run(
        self, *command: str, check: bool = True, timeout: float = 900.0, **environment: str
    ) -> str:
        """Run a client; return what it wrote to stdout. AssertionError when it fails."""
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {result.returncode}:\n"
                f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
            )
        return result.stdout

    def listing(self, kind: str, project: str, service: str | None = None) -> list[str]:
        """Ids of a compose project's containers, volumes or networks."""
        labels = [f"label=com.docker.compose.project={project}"]
        if service is not None:
            labels.append(f"label=com.docker.compose.service={service}")
        everything = ["--all"] if kind == "container" else []
        filters = [part for label in labels for part in ("--filter", label)]
        return self.run("docker", kind, "ls", "--quiet", *everything, *filters).split()

    def leftovers(self, project: str) -> list[str]:
        """What there still is of a compose project, whose name begins its images' names."""
        images = self.run("docker", "image", "ls", "--quiet", "--filter", f"reference={project}*")
        return images.split() + [
            f"{kind} {found}"
            for kind in ("container", "volume", "network")
            for found in self.listing(kind, project)
        ]

    def works(self, *command: str) -> bool:
        """Whether a client can be run and is content."""
        if shutil.which(command[0]) is None:
            return False
        try:
            self.run(*command, timeout=180.0)
        except (AssertionError, subprocess.TimeoutExpired):
            return False
        return True


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """The engine that this machine runs, else one that lives as long as this context.

    Raises:
        EngineUnavailable: there is none, and none can be installed or started here.
    """
    running = Engine({}, own=False)
    if running.works("docker", "info"):
        yield _with_compose(running)
        return
    if os.name != "posix" or os.geteuid() != 0:
        raise EngineUnavailable("no Docker engine answers, and only root can start one")
    ensured = subprocess.run(
        ["sh", str(ROOT / "scripts/ensure-docker.sh")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ensured.returncode != 0:
        raise EngineUnavailable(ensured.stderr.strip().splitlines()[-1])
    if running.works("docker", "info"):  # the package started its service
        yield _with_compose(running)
        return
    # Not below /tmp, which may be memory: images take gigabytes.
    directory = Path(tempfile.mkdtemp(prefix="sparkplug-zerobus-engine-", dir="/var/tmp"))
    try:
        with _own_engine(directory) as engine:
            yield _with_compose(engine)
    finally:
        shutil.rmtree(directory)


def _with_compose(engine: Engine) -> Engine:
    for compose in (("docker", "compose"), ("docker-compose",)):
        if engine.works(*compose, "version"):
            return Engine(engine.environment, engine.own, compose)
    raise EngineUnavailable("neither `docker compose` nor `docker-compose` is installed")


@contextlib.contextmanager
def _own_engine(directory: Path) -> Iterator[Engine]:
    engine = Engine({"DOCKER_HOST": f"unix://{directory}/docker.sock"}, own=True)
    (directory / "daemon.json").write_text("{}")
    made = [Path(place) for place in _PLACES if not Path(place).exists()]
    for place in made:
        place.mkdir()
    cgroup = f"sparkplug-zerobus-{os.getpid()}"
    log_file = directory / "dockerd.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", _PROLOGUE.format(places=" ".join(_PLACES)), "sh"),
                "dockerd",
                f"--config-file={directory}/daemon.json",
                f"--data-root={directory}/data",
                f"--exec-root={directory}/exec",
                f"--pidfile={directory}/dockerd.pid",
                f"--host={engine.environment['DOCKER_HOST']}",
                f"--cgroup-parent=/{cgroup}",
                # Compose networks need neither the default bridge nor the firewall.
                *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    try:
        wait_until(
            lambda: process.poll() is not None or engine.works("docker", "info"),
            _START_SECONDS,
            "dockerd answers",
        )
        if process.poll() is not None:
            lines = log_file.read_text(errors="replace").splitlines()
            raise EngineUnavailable("dockerd does not start: " + "; ".join(lines[-3:]))
        yield engine
    finally:
        _end(process)
        for group in (*Path("/sys/fs/cgroup").glob(f"*/{cgroup}"), *_group(cgroup)):
            with contextlib.suppress(OSError):  # the kernel empties it in its own time
                group.rmdir()
        for place in made:
            place.rmdir()


def _group(name: str) -> list[Path]:
    """The control group of the unified hierarchy, if there is one."""
    path = Path("/sys/fs/cgroup", name)
    return [path] if path.is_dir() else []


def _end(process: subprocess.Popen[bytes]) -> None:
    """End dockerd in order; with it ends everything in its process namespace."""
    if process.poll() is not None:
        return
    # unshare passes no signals on: its only child is dockerd.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)


def base_images(engine: Engine) -> dict[str, str]:
    """Values of the Dockerfile's two arguments, as images that the engine has.

    Those named in the environment, else the public ones, else, where no registry can be
    reached, stand-ins made of Debian's packages.

    Raises:
        EngineUnavailable: none of these is possible.
    """
    if set(PUBLIC_IMAGES) <= set(os.environ):
        return {name: os.environ[name] for name in PUBLIC_IMAGES}
    if all(
        engine.works("docker", "image", "inspect", image) or engine.works("docker", "pull", image)
        for image in PUBLIC_IMAGES.values()
    ):
        return PUBLIC_IMAGES
    try:
        engine.run("sh", "scripts/base-images.sh", *LOCAL_IMAGES.values())
    except AssertionError as error:
        last = str(error).strip().splitlines()[-1]
        raise EngineUnavailable(f"no registry, and scripts/base-images.sh: {last}") from None
    return LOCAL_IMAGES
