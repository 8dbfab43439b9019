"""The command `mlflow-cleanup`, and `python -m mlflow_cleanup`."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from mlflow_cleanup.cli.app import app

    app(prog_name="mlflow-cleanup")


if __name__ == "__main__":
    main()
