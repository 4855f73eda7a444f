"""What every daemon runs on: configuration, logs, the one loop, control."""
