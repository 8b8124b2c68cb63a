"""Makes a complete site for practice on SoftHSM, by the same ceremony steps as a real one."""

from kms.practice.layout import PracticeSite
from kms.practice.site import init_practice

__all__ = ["PracticeSite", "init_practice"]
