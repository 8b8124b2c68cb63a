"""What is kept of a ceremony: its folder, journal, transcript, and their chain."""
