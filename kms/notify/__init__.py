"""Ways to tell people and machines: local webhook, syslog, e-mail by a local relay."""
