"""What the measurements share: worlds to measure in, contenders, the machine, the report."""
