"""The only code that changes artifacts: with a plan, the lease and the ledger in hand."""
