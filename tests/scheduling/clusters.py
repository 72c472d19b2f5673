"""Private servers of other systems for tests: PostgreSQL and a Slurm of one node. Skipped where they are not installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PASSWORD = "swordfish-4711"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Postgres:
    """A server of our own below a temporary folder, which asks for a password."""

    bin: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def user(self) -> str | None:
        """PostgreSQL refuses to run as root."""
        return "nobody" if os.geteuid() == 0 else None

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self.user:
            for path in (self.folder, secret):
                shutil.chown(path, self.user)
        subprocess.run(
            [self.bin / "initdb", "-D", self.folder / "data", "-U", "tester", "-A", "scram-sha-256", "--pwfile",
             secret, "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, user=self.user, cwd="/",
        )  # fmt: skip

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder, "-h",
             "127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB"],
            user=self.user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 30
        while subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        ).returncode:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut would, for the server's children too."""
        assert self.process is not None
        import psutil

        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(children, timeout=20)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = Postgres(found[-1].parent, folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


CONFIG = """
ClusterName=ablate
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={control}
SlurmdPort={node}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=2000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


@dataclass
class Slurm:
    """munged, slurmctld and slurmd of our own, on this machine alone."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)  # munge wants others to reach its socket
        self.conf.write_text(
            CONFIG.format(
                host=socket.gethostname(), folder=self.folder, control=free_port(), node=free_port(),
                cores=len(os.sched_getaffinity(0)),
            )
        )  # fmt: skip
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        f = self.folder
        self._daemon(
            "munged", "--foreground", f"--key-file={key}", f"--socket={f}/munge.socket", f"--log-file={f}/munged.log",
            f"--pid-file={f}/munged.pid", f"--seed-file={f}/munged.seed", "--force",
        )  # fmt: skip
        self._wait(lambda: (f / "munge.socket").exists())
        self._daemon("slurmctld", "-D", "-f", str(self.conf), "-c")
        self._daemon("slurmd", "-D", "-f", str(self.conf), "-N", socket.gethostname(), "-c")
        self._wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"))

    def _daemon(self, *command: str) -> None:
        self.running.append(
            subprocess.Popen(
                [shutil.which(command[0]) or f"/usr/sbin/{command[0]}", *command[1:]],
                env={**os.environ, "SLURM_CONF": str(self.conf)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def ask(self, *command: str) -> str:
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout

    def _wait(self, what) -> None:
        until = time.monotonic() + 30
        while not what():
            assert time.monotonic() < until, "Slurm does not start"
            time.sleep(0.2)

    def end(self) -> None:
        self.ask("scancel", "--me", "--signal=KILL")
        self.ask("scancel", "--me")
        time.sleep(1)
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            process.wait(timeout=30)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Needs Debian's slurm-wlm and munge, and root, because slurmd starts jobs for others."""
    there = all(shutil.which(n) or Path(f"/usr/sbin/{n}").exists() for n in ("munged", "slurmctld", "slurmd"))
    if not there or os.geteuid() != 0:
        pytest.skip("needs slurmctld, slurmd and munged (apt install slurm-wlm munge), and root")
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    cluster = Slurm(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")))
    before = os.environ.get("SLURM_CONF")
    try:
        cluster.start()
        os.environ["SLURM_CONF"] = str(cluster.conf)
        yield cluster
    finally:
        cluster.end()
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(cluster.folder, ignore_errors=True)
