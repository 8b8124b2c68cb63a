"""Encrypted disks: enrolled and erased by approval, their keys released to the appliance alone."""
