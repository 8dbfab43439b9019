"""The only code that changes artifacts or MLflow's rows: with a plan, the lease and the ledger."""
