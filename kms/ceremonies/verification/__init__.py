"""The offline verifier of transcripts."""
