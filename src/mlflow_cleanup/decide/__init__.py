"""Judging, planning and refusing: pure functions of facts, without I/O and without a clock."""
