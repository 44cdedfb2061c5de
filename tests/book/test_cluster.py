"""The page on clusters: its examples run, or at least say what the command and YAML allow."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from torch.distributed.run import parse_args

from cpssl_lite.cli.main import cli
from cpssl_lite.profiles.table import read_profiles

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "cluster.md").read_text(encoding="utf-8")
BASH = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
YAML = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]


def block(start):
    """The one shell block that holds a text."""
    (found,) = [text for text in BASH if start in text]
    return found


def options(text):
    """The values that a `cpssl` command line gives, as the command itself reads them."""
    words = shlex.split(text.replace("\\\n", " "))
    words = words[words.index("cpssl") + 1 :]
    command = cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with pytest.MonkeyPatch.context() as launcher:
        launcher.setenv("MASTER_ADDR", "first-machine")
        return command.make_context("cpssl", words).params


def header(script):
    """The settings of an sbatch script."""
    return dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script, re.M))


@pytest.mark.slow
def test_the_two_process_example_runs(tmp_path):
    for line in block("simulate tiny").strip().splitlines():
        command = [str(Path(sys.executable).with_name("cpssl")), *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["raw.parquet"]
    assert read_profiles(tmp_path / "raw.parquet")["Metadata_Plate"].nunique() == 4
    assert not (tmp_path / "raw.parquet.plates").exists()


def test_every_script_is_one_that_bash_reads():
    for text in BASH:
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_the_sbatch_script_asks_for_what_the_command_needs():
    script = block("srun")
    asked, given = header(script), options(script.partition("srun")[2])
    assert given["devices"] == int(asked["ntasks-per-node"]) == int(asked["gpus-per-node"])
    assert given["nodes"] == int(asked["nodes"]) and "requeue" in asked


@pytest.mark.parametrize("text", [block("torchrun"), YAML[0]["spec"]["template"]["spec"]])
def test_torchrun_starts_as_many_as_the_command_expects(text):
    if not isinstance(text, str):
        text = text["containers"][0]["args"][0]
    words = shlex.split(text.replace("\\\n", " ").replace("$JOB_COMPLETION_INDEX", "0"))
    launch, given = parse_args(words[1:]), options(text)
    assert (int(launch.nnodes), int(launch.nproc_per_node)) == (given["nodes"], given["devices"])
    assert launch.no_python and launch.training_script == "cpssl"


def test_the_kubernetes_job_is_whole():
    job, service = YAML
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    given = options(pod["containers"][0]["args"][0])
    assert given["nodes"] == spec["completions"]
    assert pod["restartPolicy"] in ("OnFailure", "Never")
    (container,) = pod["containers"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    (address,) = re.findall(r"--master-addr (\S+)", container["args"][0])
    assert address == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (
        service["metadata"]["name"] == pod["subdomain"] and service["spec"]["clusterIP"] == "None"
    )
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}


FAKE = """#!/bin/bash
echo "cpssl $*" >> commands
while [ "$1" != -o ]; do shift; done
case "$2" in *.parquet) mkdir -p profiles; touch "$2";; *) mkdir -p "$2";; esac
"""


def test_all_of_jump_takes_one_plate_a_task(tmp_path):
    script = block("jump_all")
    plates = pd.read_parquet(ROOT / "data_manifests" / "jump_all.parquet")["Metadata_Plate"]
    assert header(script)["array"] == f"0-{len(plates) - 1}%64"
    (tmp_path / "data_manifests").symlink_to(ROOT / "data_manifests")
    fake = tmp_path / "bin" / "cpssl"
    fake.parent.mkdir()
    fake.write_text(FAKE)
    fake.chmod(0o755)
    path = f"{fake.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": "7"}
    for _ in range(2):  # the second time it is done already
        command = ["bash", "-c", script]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=100)
    commands = [options(line) for line in (tmp_path / "commands").read_text().splitlines()]
    fetched, merged, extracted = commands
    assert fetched["dataset"] == "jump_all" and fetched["plates"] == plates[7]
    assert merged["table"] == fetched["out"] / "load_data.csv"
    assert extracted["image_table"] == merged["out"] / "images.parquet"
    assert extracted["out"] == Path("profiles", f"{plates[7]}.parquet")
    assert not fetched["out"].exists() and not any((tmp_path / "merged").iterdir())
