"""Faults on purpose: races, kills at every point, filesystems that lie. One file a promise."""
