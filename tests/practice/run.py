"""``./dev run``: a practice site, the main job on it, then the service goes on.

Options: --once ends after the job; --fresh starts over; --site DIR is another place than .practice.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from kms.practice import init_practice
from tests.practice import encrypted_disk, evidence, roster_meeting, trusted_meeting
from tests.practice.account import Account
from tests.practice.service import Service
from tests.scenarios.bays import HostBay, host_bay

HERE = Path(__file__).parents[2] / ".practice"
PRACTICE_AUDITOR = "zhao-auditor"


def main() -> int:
    """Run; exit code 0 if every guarantee held."""
    options = _options()
    account = Account()
    account.title()
    service = _start(account, options)
    disks = options.site / "disks"
    disks.mkdir(mode=0o700, exist_ok=True)
    try:
        with host_bay(service, disks) as bay:
            bay.start()
            held = _main_job(service, bay, account, options.site)
            if options.once:
                return 0 if held else 1
            return _serve(service, account)
    finally:
        service.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the main job")
    parser.add_argument("--fresh", action="store_true", help="delete the practice site first")
    parser.add_argument("--site", type=Path, default=HERE, help="where the practice site lies")
    return parser.parse_args()


def _start(account: Account, options: argparse.Namespace) -> Service:
    known = (options.site / "conclave.toml").exists() and not options.fresh
    if known:
        account.step("演练站点", f"The practice site in {options.site} is taken up again")
    else:
        account.step("演练站点", "A practice site: tokens, keys, escrow shares, certificates")
    site = init_practice(options.site, fresh=options.fresh)
    account.say(f"{site.directory}: three SoftHSM tokens, one for the site, one for each space")
    account.say("founded by seven ceremonies of eleven people (practice-plans/, state/ceremonies/)")
    account.say("escrow key made and split: Security 3 of 5 and Legal 2 of 3 (practice-shares/)")
    account.step("启动服务", "One worker for each token, one web process")
    service = Service(site)
    try:
        service.start()
    except BaseException:
        service.stop()
        raise
    for name, pid in service.pids().items():
        account.say(f"{name}: process {pid}")
    return service


def _main_job(service: Service, bay: HostBay, account: Account, place: Path) -> bool:
    scratch = Path(tempfile.mkdtemp(prefix="conclave-"))
    earlier = scratch / "earlier.checkpoint"
    try:
        time.sleep(service.settings.audit.checkpoint_seconds + 0.5)
        evidence.keep_checkpoint(service, earlier)
        roster_meeting.run(service, account, scratch)
        trusted_meeting.run(service, account)
        encrypted_disk.run(bay, account)
        evidence.run(service, account, earlier, place / "evidence.db")
    finally:
        shutil.rmtree(scratch)
    return account.close(place / "report.json")


def _serve(service: Service, account: Account) -> int:
    shutil.copy(service.settings.paths.run / "endpoints.json", service.site.directory)
    account.step("继续服务", "The service goes on; Ctrl-C ends it")
    account.say(f"Unix socket {service.settings.paths.api_socket}")
    account.say(f"mutual TLS  {service.url}")
    account.say(f"try: ./dev conclave --config {service.site.config} status")
    _say_board(service, account)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return service.wait()
    except KeyboardInterrupt:
        return 0


def _say_board(service: Service, account: Account) -> None:
    board = service.settings.board
    if board is None:
        return
    account.say(f"board       {board.origin}; invite somebody to enrol a passkey there:")
    credential = service.site.person_key(PRACTICE_AUDITOR)
    account.say(
        f"./dev conclave --config {service.site.config} passkey invite "
        f"--person {PRACTICE_AUDITOR} --key {credential}"
    )


if __name__ == "__main__":
    sys.exit(main())
