"""The main job's end: an auditor takes the log away and verifies it with nothing but the root."""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from tests.practice.account import Account
from tests.practice.service import CONCLAVE, Service


def keep_checkpoint(service: Service, path: Path) -> None:
    """Keep the newest checkpoint, as an auditor would from an earlier visit."""
    with service.console() as console:
        path.write_text(console.checkpoint().note)


def run(service: Service, account: Account, earlier: Path, bundle: Path) -> None:
    """Export, verify, change one byte in a copy, verify again."""
    account.step("离线审计", "An auditor verifies the log offline")
    service.await_checkpoint()
    bundle.unlink(missing_ok=True)
    exported = _conclave("--config", service.site.config, "--json", "audit", "export", bundle)
    account.say(f"{json.loads(exported.stdout)['leaves']} leaves in {bundle}")
    root = service.site.site_root
    verified = _verify(bundle, root, earlier)
    checks = verified["checks"]
    account.figures["audit"] = {"verdict": verified["verdict"], "checks": len(checks)}
    account.holds(
        f"the bundle verifies: {len(checks)} checks, without service, HSM or network",
        shown=verified["verdict"] == "pass",
    )
    altered = bundle.with_suffix(".altered.db")
    _alter(bundle, altered)
    account.holds(
        "the same bundle with one word changed does not",
        shown=_verify(altered, root, earlier)["verdict"] == "fail",
    )
    altered.unlink()


def _verify(bundle: Path, root: Path, earlier: Path) -> dict[str, Any]:
    done = _conclave(
        "--json", "audit", "verify", bundle, "--site-root", root, "--checkpoint", earlier
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _conclave(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [CONCLAVE, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _alter(bundle: Path, altered: Path) -> None:
    shutil.copy(bundle, altered)
    altered.chmod(0o600)
    connection = sqlite3.connect(altered)
    with connection:
        connection.execute(
            "UPDATE leaf SET body = replace(body, 'server:ms-1', 'server:ms-2') WHERE seq ="
            " (SELECT min(seq) FROM leaf WHERE body LIKE '%server:ms-1%')"
        )
    connection.close()
