"""Telling: text and JSON made from the same values. Reads the ledger, never acts."""
