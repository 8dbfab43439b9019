"""Where bytes lie: one protocol, one implementation for each kind of store."""
