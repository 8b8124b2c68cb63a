"""Ways to tell people and machines: webhook on the local network, syslog, e-mail by a local relay."""
