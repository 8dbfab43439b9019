"""Artifact roots in object stores: S3, Google Cloud Storage, Azure Blob, through obstore."""
