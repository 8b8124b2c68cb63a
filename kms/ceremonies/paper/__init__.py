"""What people read of ceremonies: handbooks, blank plans, printed transcripts."""
