"""The way to kms: what the appliance asks, and what it believes of the answers.

Of a disk it believes nothing but the record that an HSM worker signed in answer to a fresh nonce
(statements/release.py), by the site's pinned root; the service in between is only asked.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.seen import Seen
from kms.client.api import Client
from kms.domain.disks import Disk, OrderState, Work
from kms.errors import VerificationFailed
from kms.statements.canonical import unb64u
from kms.statements.diskkeys import NONCE_BYTES, DiskKeys, open_keys, open_recovery, work_proof
from kms.statements.keylist import KeyList, verify_keylist
from kms.statements.release import verify_release
from kms.wire.disks import DeviceIn, DeviceOut, DiskList, Orders


@dataclass(frozen=True, slots=True)
class Held:
    """A disk as its worker knows it, and its keys; ``version`` is that of its row."""

    disk: Disk
    version: int
    keys: DiskKeys = field(repr=False)

    def committed(self) -> "Held":
        """Return what is held once kms has committed the work; raise StateNotAllowed."""
        keys = DiskKeys(
            key=self.keys.next_key or self.keys.key,
            recovery=self.keys.next_recovery or self.keys.recovery,
        )
        return replace(self, disk=self.disk.commit(), version=self.version + 1, keys=keys)


class Link:
    """Asks kms by a connection of its own for each question; any thread may use it."""

    def __init__(
        self,
        connect: Callable[[], Client],
        private: X25519PrivateKey,
        site: str,
        root: EllipticCurvePublicKey,
        seen: Seen,
    ) -> None:
        """``private`` opens what is sealed to this appliance; ``site`` and ``root`` are pinned,
        ``seen`` does not go back.
        """
        self._connect, self._private = connect, private
        self._site, self._root = site, root
        self._seen = seen

    @property
    def site(self) -> str:
        """The site that the disks belong to."""
        return self._site

    def held(self, disk: str) -> Held:
        """Return a disk (UUID) with its keys; an erased one has none.

        Raise VerificationFailed or EnvelopeRefused for a release that is not the worker's, is
        older than one seen, or is for another appliance; else what the API raises.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        with self._client() as client:
            token = client.disk_keys(disk, nonce).release
            release = verify_release(token, self._key_list(client), disk, nonce)
        self._seen.row(disk, release.version)
        sealed = unb64u(release.sealed)
        keys = DiskKeys()
        if sealed:
            keys = open_keys(sealed, self._private, self._site, disk, nonce)
        return Held(release.disk, release.version, keys)

    def recovered(self, disk: str, sealed: str) -> bytes:
        """Return the recovery key that a ceremony sealed (base64url); raise EnvelopeRefused,
        InvalidInput.
        """
        return open_recovery(unb64u(sealed), self._private, self._site, disk)

    def begin(self, disk: str, work: Work) -> None:
        """Have the keys made that a work brings; again: nothing more."""
        with self._client() as client:
            client.begin_work(disk, work)

    def commit(self, held: Held) -> None:
        """Say that the work's keys open the disk, and prove it by the keys."""
        with self._client() as client:
            client.commit_work(held.disk.disk, self._proof(held))

    def finish(self, held: Held, header: str) -> None:
        """End the work with the digest (base64url) of the header region, proved as a commit is."""
        with self._client() as client:
            client.finish_work(held.disk.disk, header, self._proof(held, header))

    # --- what the daemon itself reports and hears ------------------------------------------------

    def disks(self) -> DiskList:
        """Return the disks and devices that kms knows of."""
        with self._client() as client:
            return client.disks()

    def take_orders(self, version: int, wait: int) -> Orders:
        """Return what waits, as ``Client.take_orders``."""
        with self._client() as client:
            return client.take_orders(version, wait)

    def report_device(self, serial: str, device: DeviceIn) -> DeviceOut:
        """Report how a device stands."""
        with self._client() as client:
            return client.report_device(serial, device)

    def report_order(
        self, order: str, state: OrderState, progress: int = 0, code: str = "", message: str = ""
    ) -> None:
        """Report how far an order is, or its end."""
        with self._client() as client:
            client.report_order(order, state, progress, code, message)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        with self._connect() as client:
            yield client

    def _proof(self, held: Held, header: str = "") -> str:
        return work_proof(held.keys, self._site, held.disk.disk, held.version, header)

    def _key_list(self, client: Client) -> KeyList:
        """Return the site's newest key list; raise VerificationFailed if it went back."""
        newest = verify_keylist(client.key_list().key_list, self._root)
        if newest.iss != self._site:
            raise VerificationFailed("the key list is another site's")
        self._seen.key_list(newest.version)
        return newest
