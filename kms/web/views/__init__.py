"""A file for each subject of the board: its pages and what answers them."""
