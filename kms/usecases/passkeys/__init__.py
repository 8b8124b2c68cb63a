"""Passkeys and sign-in at the board: the audit log is their register."""
