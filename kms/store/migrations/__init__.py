"""The schema's history. A revision names its tables itself and never imports the present ones."""
