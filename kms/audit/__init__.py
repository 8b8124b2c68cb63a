"""The tamper-evident log: leaves, Merkle tree, checkpoints and the offline verifier. Pure."""
