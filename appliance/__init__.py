"""The appliance daemon: encrypted disks of the box, from first plug-in to destruction."""
