"""Tables, migrations and the single writer."""
