"""The memory: who works, what was known, what was put away, what was meant and what came of it."""
