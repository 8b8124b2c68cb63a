"""Documents on paper: share cards, transcripts, certificates, handbooks, as PDF/A."""
