"""The files of ``sweeps/clusters/``: valid where they go, in agreement with kdray, Ray and each
other; slurm.sh runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import jsonschema
import pytest
import ray.autoscaler
import yaml
from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict, Field
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from kdray.cli import build_parser
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.execution.resources import Node, at_once, check
from tests.shipped import FOLDER

CLUSTERS = FOLDER / "clusters"
README, SLURM, KUBERAY, ON_PREMISES, AWS = (
    CLUSTERS / file
    for file in ("README.md", "slurm.sh", "kuberay.yaml", "on_premises.yaml", "aws.yaml")
)
DOCKERFILE = CLUSTERS / "Dockerfile"
OURS, THEIRS = "kdray", "ray"
TOKEN_MODE, TOKEN_FILE = "RAY_AUTH_MODE=token", "~/.ray/auth_token"


# Command lines


def leaves(value: object) -> Iterator[str]:
    """Every text in what a YAML file holds."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    elif isinstance(value, str):
        yield value


def shell_lines(path: Path) -> Iterator[str]:
    """What ``path`` gives to a shell, or tells its reader to."""
    text = path.read_text()
    if path == README:
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            yield from block.splitlines()
        yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        return
    yield from re.findall(r"(?m)^#   (\S.*)$", text)
    if path.suffix == ".yaml":
        yield from leaves(yaml.safe_load(text))


def commands(line: str) -> Iterator[tuple[str, list[str]]]:
    """The arguments of every kdray and ray that ``line`` runs, also by way of ``ray exec`` and
    ``ray job submit``."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) - set("();|&"):
            command.append(token)
            continue
        while command and re.match(r"\w+=", command[0]):
            del command[0]
        program, arguments = (Path(command[0]).name, command[1:]) if command else ("", [])
        if program in (OURS, THEIRS) and arguments and Path(command[0]).suffix == "":
            yield program, arguments
            if arguments[0] == "exec":
                yield from commands(arguments[-1])
            elif "--" in arguments:
                yield from commands(
                    shlex.join(arguments[arguments.index("--") + 1 :]).replace("'", "")
                )
        command = []


def ours(arguments: list[str]) -> Namespace:
    return build_parser().parse_args(arguments)


def theirs(arguments: list[str]) -> click.Context:
    """``ray ARGUMENTS`` as Ray reads it; nothing is run."""
    command: click.Command = ray_cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), arguments[0])
        assert found is not None, f"ray {arguments[0]}: no such command"
        command, arguments = found, arguments[1:]
    return command.make_context(str(command.name), list(arguments))


@pytest.mark.parametrize("path", [README, KUBERAY, ON_PREMISES, AWS], ids=lambda path: path.name)
def test_every_command_line_is_one_that_kdray_and_ray_read(path: Path) -> None:
    found = [command for line in shell_lines(path) for command in commands(line)]
    for program, arguments in found:
        ours(arguments) if program == OURS else theirs(arguments)
    least = {README: (6, 12), KUBERAY: (2, 0), ON_PREMISES: (0, 4), AWS: (1, 4)}[path]
    assert len([1 for program, _ in found if program == OURS]) >= least[0]
    assert len([1 for program, _ in found if program == THEIRS]) >= least[1]


@pytest.mark.parametrize(
    "line",
    [
        "A=1 kdray run --result x",
        "ray exec x.yaml 'cd y && ~/bin/kdray run x --nodes 3'",
        "ray job submit -- kdray go",
    ],
)
def test_a_wrong_kdray_is_found_wherever_a_line_has_it(line: str) -> None:
    (arguments,) = [arguments for program, arguments in commands(line) if program == OURS]
    with pytest.raises(ValueError):
        ours(arguments)


def test_whoever_asks_a_ray_on_machines_of_their_own_shows_the_token() -> None:
    asking = [line for line in shell_lines(README) if "'" in line and "/bin/ray " in line]
    assert len(asking) == 3
    assert all(f"'{TOKEN_MODE} ~/kdray/bin/ray " in line for line in asking)


def test_what_must_be_changed_is_said_at_the_top_and_marked() -> None:
    for path in (KUBERAY, ON_PREMISES, AWS):
        lines = path.read_text().splitlines()
        assert lines[1].startswith('# To change: the lines marked "<-"')
        assert sum("# <-" in line for line in lines) >= 4


# Ray's cluster launcher


@pytest.mark.parametrize("path", [ON_PREMISES, AWS], ids=lambda path: path.name)
class TestLauncher:
    def test_ray_takes_it(self, path: Path) -> None:
        schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
        validate_config(prepare_config(yaml.safe_load(path.read_text())))

    def test_the_workers_find_the_head_and_nobody_outside_its_dashboard(self, path: Path) -> None:
        config = prepare_config(yaml.safe_load(path.read_text()))
        head, worker = (
            self.start(config[f"{kind}_start_ray_commands"]) for kind in ("head", "worker")
        )
        assert (head["head"], worker["head"]) == (True, False)
        assert head["dashboard_host"] == "127.0.0.1"
        assert head["autoscaling_config"] == "~/ray_bootstrap_config.yaml"
        assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"

    def test_every_node_has_the_token_and_asks_for_it(self, path: Path) -> None:
        config = yaml.safe_load(path.read_text())
        (there,) = (there for there, here in config["file_mounts"].items() if here == TOKEN_FILE)
        assert there in (TOKEN_FILE, "/home/ray/.ray/auth_token"), "where Ray looks for it"
        started = [config[f"{kind}_start_ray_commands"][1] for kind in ("head", "worker")]
        in_container = f"-e {TOKEN_MODE}" in config.get("docker", {}).get("run_options", [])
        assert in_container or all(line.startswith(f"{TOKEN_MODE} ") for line in started)

    def test_every_node_is_there_from_the_start(self, path: Path) -> None:
        config = prepare_config(yaml.safe_load(path.read_text()))
        nodes = [kind for kind in config["available_node_types"].values() if kind["min_workers"]]
        assert all(kind["min_workers"] == kind["max_workers"] for kind in nodes)
        assert sum(kind["min_workers"] for kind in nodes) == config["max_workers"] > 0

    def test_every_node_has_kdray(self, path: Path) -> None:
        assert any(
            re.search(r"pip install kdray\b", command)
            for command in yaml.safe_load(path.read_text())["setup_commands"]
        )

    @staticmethod
    def start(lines: list[str]) -> dict[str, Any]:
        """The options of the one ``ray start``, after what ran before has been stopped."""
        stop, start = (command for line in lines for command in commands(line))
        assert stop == (THEIRS, ["stop"])
        return theirs(start[1]).params


# KubeRay: the fields that the manifest uses, in the types that its resource definition has


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Named(Strict):
    name: Name


class Amounts(Strict):
    """Kubernetes takes texts for quantities; a number would do too, 4.0 would not mean what it
    says."""

    cpu: Annotated[str, Field(pattern=r"^\d+$")]
    memory: Annotated[str, Field(pattern=r"^\d+Gi$")]
    gpu: Annotated[str, Field(pattern=r"^\d+$", alias="nvidia.com/gpu")] = "0"

    @property
    def node(self) -> Node:
        return Node("pod", float(self.cpu), float(self.gpu))


class ContainerResources(Strict):
    requests: Amounts
    limits: Amounts


class Mount(Named):
    mountPath: Annotated[str, Field(pattern="^/")]


class Container(Named):
    image: str
    resources: ContainerResources
    volumeMounts: list[Mount]


class Claim(Strict):
    claimName: Name


class Volume(Named):
    persistentVolumeClaim: Claim | None = None
    configMap: Named | None = None


class Pod(Strict):
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume]


class PodTemplate(Strict):
    spec: Pod


class Head(Strict):
    serviceType: Literal["ClusterIP"]
    rayStartParams: dict[str, str]
    template: PodTemplate


class Workers(Strict):
    groupName: Name
    replicas: Annotated[int, Field(ge=1)]
    minReplicas: int
    maxReplicas: int
    rayStartParams: dict[str, str]
    template: PodTemplate


class AuthOptions(Strict):
    mode: Literal["token"]


class Cluster(Strict):
    authOptions: AuthOptions
    rayVersion: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    headGroupSpec: Head
    workerGroupSpecs: Annotated[list[Workers], Field(min_length=1)]

    @property
    def pods(self) -> list[Pod]:
        """One of each kind, the head's first."""
        return [
            self.headGroupSpec.template.spec,
            *(group.template.spec for group in self.workerGroupSpecs),
        ]


class Job(Strict):
    entrypoint: str
    runtimeEnvYAML: str
    backoffLimit: int
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    rayClusterSpec: Cluster


class Manifest(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Named
    spec: Job


@pytest.fixture(scope="module")
def job() -> Job:
    return Manifest.model_validate(yaml.safe_load(KUBERAY.read_text())).spec


@pytest.fixture(scope="module")
def cluster(job: Job) -> Cluster:
    return job.rayClusterSpec


def mounted(pod: Pod, path: str) -> Volume:
    """The volume that ``path`` lies on."""
    (mount,) = [
        mount for mount in pod.containers[0].volumeMounts if path.startswith(f"{mount.mountPath}/")
    ]
    (volume,) = [volume for volume in pod.volumes if volume.name == mount.name]
    return volume


def test_the_job_runs_kdray_on_the_cluster_that_it_starts(job: Job) -> None:
    ((program, arguments),) = commands(job.entrypoint)
    chosen = ours(arguments)
    assert program == OURS
    assert chosen.address == "auto"
    assert job.shutdownAfterJobFinishes
    assert "kdray" in yaml.safe_load(job.runtimeEnvYAML)["pip"]
    assert set(yaml.safe_load(job.runtimeEnvYAML)) == {"pip"}


def test_results_and_data_are_on_storage_that_all_pods_share(job: Job, cluster: Cluster) -> None:
    chosen = ours(next(commands(job.entrypoint))[1])
    for path in (chosen.results, chosen.data):
        claims = {mounted(pod, path).persistentVolumeClaim for pod in cluster.pods}
        assert len(claims) == 1
        assert None not in claims
    sweep = mounted(cluster.pods[0], chosen.sweep).configMap
    assert sweep is not None
    assert (
        f"kubectl create configmap {sweep.name} --from-file={Path(chosen.sweep).name}="
        in KUBERAY.read_text()
    )


def test_the_image_is_made_of_files_that_are_there_and_keeps_its_ray() -> None:
    image = DOCKERFILE.read_text()
    copied = [word for line in re.findall(r"(?m)^COPY (.*)$", image) for word in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (CLUSTERS.parents[1] / name).exists(), name
    assert "ray[tune]==$(" in image


def test_image_and_manifest_name_one_ray_that_kdray_takes(cluster: Cluster) -> None:
    images = {container.image for pod in cluster.pods for container in pod.containers}
    images |= {yaml.safe_load(AWS.read_text())["docker"]["image"]}
    image = DOCKERFILE.read_text()
    (default,) = re.findall(r"(?m)^ARG RAY=(\S+)", image)
    (base,) = re.findall(r"(?m)^FROM (\S+)", image)
    images.add(base.replace("${RAY}", default))
    assert images == {f"rayproject/ray:{cluster.rayVersion}-py311-gpu"}
    (needed,) = [
        wanted for wanted in map(Requirement, requires("kdray") or []) if wanted.name == "ray"
    ]
    assert needed.specifier.contains(cluster.rayVersion)


def test_the_sweep_that_the_manifest_names_fits_into_its_pods(cluster: Cluster) -> None:
    (file,) = re.findall(r"--from-file=sweep\.yaml=(\S+)", KUBERAY.read_text())
    sweep = load_sweep(FOLDER.parent / file)
    nodes = [
        cluster.headGroupSpec.template.spec.containers[0].resources.limits.node._replace(cpu=0.0)
    ]
    for group in cluster.workerGroupSpecs:
        nodes += [group.template.spec.containers[0].resources.limits.node] * group.replicas
    gpus = sum(node.gpu for node in nodes)
    asked = {"teacher": sweep.file.resources.teacher, "student": sweep.file.resources.student}
    for role in sweep.roles:
        check(role, asked[role], nodes)
        assert at_once(asked[role], nodes) == gpus / asked[role].gpu, "GPUs wait for CPUs"


def test_rays_numbers_are_the_pods_own(cluster: Cluster) -> None:
    start = theirs(["start", "--head"]).command
    names = {option.removeprefix("--") for parameter in start.params for option in parameter.opts}
    assert cluster.headGroupSpec.rayStartParams == {"num-cpus": "0"}, (
        "the driver's CPUs are not for trials"
    )
    assert "num-cpus" in names
    for group in cluster.workerGroupSpecs:
        assert group.replicas == group.minReplicas == group.maxReplicas
        assert set(group.rayStartParams) <= names - {"num-cpus", "num-gpus", "memory"}, (
            "the limits say it"
        )
    for pod in cluster.pods:
        assert all(
            container.resources.requests == container.resources.limits
            for container in pod.containers
        )


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (("spec", "rayClusterSpec", "headGroupSpec", "serviceType"), "LoadBalancer"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), {"num-cpus": 0}),
        (("spec", "shutdownAfterJobFinishs"), True),
        (("metadata", "name"), "kdray_sweep"),
    ],
)
def test_a_wrong_manifest_is_refused(where: tuple[str, ...], what: object) -> None:
    manifest = part = yaml.safe_load(KUBERAY.read_text())
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = what
    with pytest.raises(ValueError, match=re.escape(where[-1])):
        Manifest.model_validate(manifest)


# Slurm: slurm.sh with executables that only write down what they are asked


STUBS = {
    "venv/bin/ray": """
        echo "ray $*" >>"$LOG"
        echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >>"$LOG.tokens"
        trap 'kill $!; echo "ray stopped" >>"$LOG"; exit' TERM
        sleep 60 & wait
    """,
    "venv/bin/kdray": """
        echo "kdray $(printf '%q ' "$@")" >>"$LOG"
        echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >>"$LOG.tokens"
        trap 'kill $!; echo "kdray stopped" >>"$LOG"; exit ${AT_TERM:-130}' TERM
        if [ -n "$STATUS" ]; then exit "$STATUS"; fi
        sleep 60 & wait
    """,
    "venv/bin/python": f'exec {shlex.quote(sys.executable)} "$@"',
    "bin/srun": """
        echo "srun $*" >>"$LOG"
        while [[ $1 == --* ]]; do case $1 in --ntasks=*) tasks=${1#*=};; esac; shift; done
        trap 'kill $(jobs -p)' TERM
        for ((i = 0; i < tasks; i++)); do "$@" & done
        while [ -n "$(jobs -pr)" ]; do wait; done
    """,
    "bin/scontrol": 'echo "scontrol $*" >>"$LOG"; if [ "$1" = show ]; then printf "%s\\n" '
    "$NODES; fi",
    "bin/getent": 'echo "10.0.0.7        STREAM $2"; echo "10.0.0.7        DGRAM"',
}
RAY = '''
"""Ray as slurm.sh's own Python sees it: a node for each one that was started; five minutes pass once no more will come."""
import os, time
from pathlib import Path
late, limit = time.sleep, int(os.environ.get("COME", "99"))
now = 0.0
def started():
    path = Path(os.environ["LOG"])
    return min(limit, sum(line.startswith("ray start") for line in path.read_text().splitlines()))
def init(address, **options):
    if not started() or "DEAF" in os.environ:
        raise ConnectionError(address)
def nodes():
    return [{"Alive": True}] * started()
def sleep(seconds):
    global now
    late(0.01)
    now += seconds * 20 * (started() == limit)
time.sleep, time.monotonic = sleep, lambda: now
'''


class Batch:
    """One run of slurm.sh, as Slurm starts it on the first of ``nodes`` nodes."""

    def __init__(self, folder: Path, nodes: int = 1, **environment: str) -> None:
        for path, text in STUBS.items():
            stub = folder / path
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text(f"#!/bin/bash\n{text}\n")
            stub.chmod(0o755)
        (folder / "ray.py").write_text(RAY)
        self._log = folder / "log"
        self._log.touch()
        names = [f"n{number}" for number in range(1, nodes + 1)]
        with (folder / "output").open("w") as output:
            self._process = subprocess.Popen(
                ["bash", str(SLURM)],
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={
                    "PATH": f"{folder}/bin:/usr/bin:/bin",
                    "LOG": str(self._log),
                    "NODES": " ".join(names),
                    "PYTHONPATH": str(folder),
                    "VENV": str(folder / "venv"),
                    "SWEEP": "s.yaml",
                    "RESULTS": "/r r",
                    "DATA": "/d",
                    "SLURM_JOB_ID": "123456",
                    "SLURM_JOB_NODELIST": f"n[1-{nodes}]",
                    "SLURM_CPUS_PER_TASK": "16",
                    "SLURM_GPUS_ON_NODE": "4",
                    "STATUS": "",
                    **environment,
                },
            )

    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def tokens(self) -> list[str]:
        return self._log.with_name("log.tokens").read_text().splitlines()

    def send(self, number: signal.Signals, after: str) -> None:
        """The signal, to the batch script alone, as soon as a line of the log begins with
        ``after``."""
        while not any(line.startswith(after) for line in self.log()):
            assert self._process.poll() is None, "it has ended"
            time.sleep(0.01)
        self._process.send_signal(number)

    def ended(self) -> int:
        return self._process.wait(timeout=60)

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.ended()


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Any]:
    running: list[Batch] = []

    def start(nodes: int = 1, **environment: str) -> Batch:
        running.append(Batch(tmp_path, nodes, **environment))
        return running[-1]

    yield start
    for started in running:
        started.kill()


def starts(log: list[str]) -> list[dict[str, Any]]:
    """The options of every ``ray start``."""
    return [theirs(shlex.split(line)[1:]).params for line in log if line.startswith("ray start")]


def test_on_one_node_a_head_starts_then_the_sweep(batch: Any) -> None:
    job = batch(1, STATUS="0")
    assert job.ended() == 0
    log = job.log()
    assert [line.split(" --")[0].split(" s.yaml")[0] for line in log] == [
        "scontrol show hostnames n[1-1]",
        "srun",
        "srun",
        "ray start",
        "kdray run",
        "ray stopped",
    ]
    (head,) = starts(log)
    assert (head["head"], head["num_cpus"], head["num_gpus"], head["block"]) == (True, 16, 4, True)
    assert head["include_dashboard"] is False


def test_on_three_nodes_the_sweep_starts_when_all_have_joined_the_head(batch: Any) -> None:
    job = batch(3, STATUS="0")
    assert job.ended() == 0
    log = job.log()
    order = [line.split()[0] for line in log]
    assert order == [
        "scontrol",
        "srun",
        "srun",
        "ray",
        "srun",
        "ray",
        "ray",
        "kdray",
        "ray",
        "ray",
        "ray",
    ]
    on_head, on_workers = log[2].split(" ray start")[0], log[4].split(" ray start")[0]
    assert {"--nodes=1", "--ntasks=1", "--nodelist=n1", "--cpus-per-task=16"} <= set(
        on_head.split()
    )
    assert {"--nodes=2", "--ntasks=2", "--exclude=n1", "--cpus-per-task=16"} <= set(
        on_workers.split()
    )
    head, *workers = starts(log)
    address = f"{head['node_ip_address']}:{head['port']}"
    assert head["node_ip_address"] == "10.0.0.7", "the head's address as the last node sees it"
    assert "--nodelist=n3" in log[1]
    assert [(worker["head"], worker["address"], worker["block"]) for worker in workers] == [
        (False, address, True)
    ] * 2
    chosen = ours(shlex.split(log[7])[1:])
    assert (chosen.sweep, chosen.results, chosen.data, chosen.address) == (
        "s.yaml",
        "/r r",
        "/d",
        address,
    )


def test_only_the_jobs_own_processes_know_its_rays_token(batch: Any) -> None:
    job = batch(3, STATUS="0")
    job.ended()
    assert len(job.tokens()) == 4
    (known,) = set(job.tokens())
    assert re.fullmatch("token [0-9a-f]{64}", known)
    assert not any(known.split()[1] in line for line in job.log()), (
        "on a command line everybody reads it"
    )


@pytest.mark.parametrize("status", [0, 1, 2])
def test_kdrays_exit_status_is_the_jobs(batch: Any, status: int) -> None:
    job = batch(1, STATUS=str(status))
    assert job.ended() == status
    assert job.log()[-1] == "ray stopped"


def test_sigterm_stops_kdray_first_and_then_ray(batch: Any) -> None:
    job = batch(3)
    job.send(signal.SIGTERM, after="kdray run")
    assert job.ended() == 130
    assert job.log()[-4:] == ["kdray stopped", *["ray stopped"] * 3]


def test_near_its_time_limit_the_job_stops_cleanly_and_queues_again(batch: Any) -> None:
    job = batch(1)
    job.send(signal.SIGUSR1, after="kdray run")
    assert job.ended() == 130
    assert job.log()[-3:] == ["kdray stopped", "ray stopped", "scontrol requeue 123456"]


def test_a_sweep_that_ends_by_itself_near_the_limit_is_not_queued_again(batch: Any) -> None:
    job = batch(1, AT_TERM="1")
    job.send(signal.SIGUSR1, after="kdray run")
    assert job.ended() == 1
    assert job.log()[-1] == "ray stopped"


def test_sigterm_while_ray_starts_ends_what_has_started(batch: Any) -> None:
    job = batch(3, DEAF="1")
    job.send(signal.SIGTERM, after="ray start")
    assert job.ended() == 130
    assert job.log()[-1] == "ray stopped"
    assert not any(line.startswith("kdray") for line in job.log())


def test_a_worker_that_does_not_come_is_not_waited_for_for_ever(batch: Any) -> None:
    job = batch(3, COME="2", STATUS="0")
    assert job.ended() == 0
    assert len([line for line in job.log() if line.startswith("kdray")]) == 1


def test_without_a_head_the_job_fails(batch: Any) -> None:
    job = batch(1, COME="0")
    assert job.ended() == 1
    assert not any(line.startswith("kdray") for line in job.log())
    assert job.log()[-1] == "ray stopped"


def test_sbatch_reads_every_directive_and_signals_the_script_in_time() -> None:
    lines = SLURM.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(number < first for number, line in enumerate(lines) if line.startswith("#SBATCH")), (
        "sbatch stops there"
    )
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in lines
        if line.startswith("#SBATCH")
    )
    assert options["signal"] == "B:USR1@300"
    assert {"requeue", "no-kill"} <= set(options)
    assert options["ntasks-per-node"] == "1"
    assert int(options["cpus-per-task"]) == 4 * int(options["gpus-per-node"]), (
        "four students share a GPU"
    )
