"""Real clusters on one machine, for tests: schedulers that start in seconds and leave nothing behind."""
