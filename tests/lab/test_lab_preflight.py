"""What keeps a lab from coming up is named, each with its remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleetprobe.lab.preflight import REQUIRED, Trial, preflight
from fleetprobe.lab.programs import child_environment
from tests.lab.conftest import require_lab


def everything(name: str) -> str | None:
    return f"/usr/bin/{name}"


def problem(stage: str, proc: Path, stderr: str = "") -> str:
    (found,) = preflight(lambda: Trial(stage, stderr), everything, proc)
    return str(found)


def test_a_machine_that_passes_the_rehearsal_has_no_problem() -> None:
    assert preflight(lambda: Trial("fine", ""), everything) == []


@pytest.mark.parametrize("tool", sorted(REQUIRED))
def test_a_missing_tool_is_named_with_its_package(tool: str) -> None:
    (found,) = preflight(lambda: Trial("fine", ""), lambda name: None if name == tool else everything(name))
    assert f"`{tool}` is not installed" in found.what
    assert f"apt-get install {REQUIRED[tool]}" in found.remedy


@pytest.mark.parametrize(
    ("stage", "what", "remedy"),
    [
        ("mount", "mounting", "AppArmor"),
        ("link", "veth", "modprobe veth"),
        ("sysctl", "read-only", "--privileged"),
        ("nft", "nf_tables", "modprobe nf_tables"),
        ("nftset", "inet", "modprobe"),
        ("nftct", "connections", "modprobe"),
        ("nftrandom", "at random", "modprobe nft_numgen"),
        ("packet", "packet sockets", "modprobe af_packet"),
    ],
)
def test_each_stage_of_the_rehearsal_has_its_message(
    stage: str, what: str, remedy: str, tmp_path: Path
) -> None:
    text = problem(stage, tmp_path)
    assert what in text
    assert remedy in text


@pytest.mark.parametrize(
    ("file", "content", "remedy"),
    [
        ("sys/user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces"),
        ("sys/kernel/unprivileged_userns_clone", "0\n", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "unprivileged_userns=0"),
        ("self/status", "Name:\tsh\nSeccomp:\t2\n", "seccomp=unconfined"),
    ],
)
def test_refused_namespaces_are_explained_by_the_setting_that_refuses_them(
    file: str, content: str, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert remedy in problem("unshare", tmp_path, "Operation not permitted")


@pytest.mark.lab
def test_a_kernel_that_really_refuses_namespaces_is_understood() -> None:
    require_lab()
    # The limit belongs to the user namespace it is written in, so only this one is affected.
    program = "from fleetprobe.lab.preflight import preflight; print(*preflight())"
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", sys.executable, "-c", program],
        env=child_environment(), capture_output=True, text=True, timeout=30, check=True,
    )
    assert "user.max_user_namespaces = 0" in done.stdout


def test_an_unexplained_refusal_hands_on_the_systems_own_words(tmp_path: Path) -> None:
    assert "unshare failed (No space left)" in problem("unshare", tmp_path, "No space left")
