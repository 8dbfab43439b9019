"""The memory: who works, what was known, what was taken out of use, what was meant and what came of it."""
