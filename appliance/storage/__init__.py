"""Devices and what lies on them: LUKS2 headers, key slots, file systems, mounts, backups."""
