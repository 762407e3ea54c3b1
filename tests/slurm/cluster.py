"""A real SLURM on this machine: one node, twelve GPUs that are null devices, a partition for each kind of job."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

CONF = Path("/etc/slurm/slurm.conf")
GRES = Path("/etc/slurm/gres.conf")
STATE = Path("/tmp/hneurons-slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")

_CONF = """
ClusterName=hneurons
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge=7200
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName={host} CPUs=8 RealMemory={memory} Gres=gpu:12 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10
"""

PROFILE = ["--profile", "slurm", "--slurm-status-command", "squeue"]


def missing() -> str | None:
    """Why no SLURM can be started here; None if it can."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    if CONF.exists() and "ClusterName=hneurons" not in CONF.read_text():
        return f"{CONF} is another cluster's: the tests would stop its daemons"
    absent = [p for p in PROGRAMS if shutil.which(p, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return f"not installed: {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)" if absent else None


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)


class Cluster:
    """The daemons, and what a test asks of them."""

    def __init__(self) -> None:
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        self.host = socket.gethostname().split(".")[0]

    def start(self) -> None:
        self.stop()
        shutil.rmtree(STATE, ignore_errors=True)
        for folder in ("ctld", "d"):
            (STATE / folder).mkdir(parents=True)
        CONF.parent.mkdir(exist_ok=True)
        self._write()
        for i in range(12):
            if not (STATE / f"gpu{i}").exists():
                run("mknod", "-m", "666", str(STATE / f"gpu{i}"), "c", "1", "3")
        GRES.write_text(f"AutoDetect=off\nNodeName={self.host} Name=gpu File={STATE}/gpu[0-11]\n")
        Path("/run/munge").mkdir(exist_ok=True)
        run("chown", "-R", "munge:munge", "/run/munge")
        if not Path("/etc/munge/munge.key").exists():
            run("mungekey", "--create")
        run("runuser", "-u", "munge", "--", "munged", "--force")
        self.start_controller()
        self.start_node()
        wait_until(lambda: self.node_state() == "IDLE", 60, "the node is idle")

    def _write(self, *more: str) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1000
        CONF.write_text(_CONF.format(host=self.host, state=STATE, memory=memory) + "\n".join([*more, ""]))

    def configure(self, *more: str) -> None:
        """Further lines of the configuration; none are the ordinary ones again."""
        self._write(*more)
        run("scontrol", "reconfigure")

    def stop(self) -> None:
        for name in ("slurmd", "slurmctld", "munged"):
            subprocess.run(["pkill", "-KILL", "-x", name])
            wait_until(lambda n=name: subprocess.run(["pgrep", "-x", n], capture_output=True).returncode, 10, f"no {name}")
        # With a configuration and no controller every start of snakemake would ask in vain for nine seconds.
        CONF.unlink(missing_ok=True)
        GRES.unlink(missing_ok=True)

    def start_controller(self) -> None:
        run("slurmctld")
        wait_until(
            lambda: subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0, 30, "slurmctld answers"
        )

    def start_node(self) -> None:
        run("slurmd")

    def kill(self, daemon: str) -> None:
        run("pkill", "-KILL", "-x", daemon)

    def kill_node(self) -> None:
        """The node as it dies: its daemon, and every process of its jobs at the same time."""
        self.kill("slurmd")
        self.kill("slurmstepd")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "SLURM_JOB_ID" in process.environ():
                    process.kill()

    def node_log(self) -> str:
        return (STATE / "slurmd.log").read_text()

    def calm(self) -> None:
        """No job, an idle node: as at the start."""
        subprocess.run(["scancel", "--user", "root"])
        subprocess.run(["scontrol", "update", f"nodename={self.host}", "state=resume"], capture_output=True)
        wait_until(lambda: self.node_state() == "IDLE", 60, "the node is idle")

    def node_state(self) -> str:
        return run("sinfo", "--noheader", "--Node", "--partition", "cpu", "--format", "%T").strip().upper()

    def jobs(self, *states: str) -> list[dict[str, str]]:
        """Jobs that the controller knows, in the given states or in all."""
        said = run("squeue", "--noheader", "--states", ",".join(states) or "all", "--format", "%i|%k|%T")
        names = ("id", "comment", "state")
        return [dict(zip(names, map(str.strip, line.split("|")), strict=True)) for line in said.splitlines()]

    def job(self, rule: str, state: str = "RUNNING") -> str | None:
        """The id of a job of a rule in this state, if there is one."""
        return next((j["id"] for j in self.jobs(state) if j["comment"].startswith(f"rule_{rule}_")), None)

    def show(self, job: str) -> str:
        return run("scontrol", "show", "job", job)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Run:
    """snakemake --profile slurm, in the background."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("looking_often.py")), *PROFILE, *arguments]
        self.log = folder / "snakemake.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def finish(self, seconds: float = 300, succeeds: bool = True) -> str:
        """What it said when it ended. Fails the test if it ended otherwise than expected."""
        code = self.process.wait(seconds)
        said = self.log.read_text()
        assert (code == 0) == succeeds, said[-4000:]
        return said
