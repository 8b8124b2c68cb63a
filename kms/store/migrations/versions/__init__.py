"""One file a revision, each with the way up and the way down."""
