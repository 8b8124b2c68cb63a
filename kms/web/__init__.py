"""The board: pages for officers, auditors and operators, in a browser."""
