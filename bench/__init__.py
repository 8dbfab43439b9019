"""Reproducible measurements, each beside a competitor or a baseline measured in the same run.

    python -m bench                             every measurement, about an hour
    python -m bench latency purge --quick       some of them, with fewer rounds
    python -m bench --json figures.json         all samples as JSON too

They need what `make bench` installs, MLflow included, and are written for Linux: `idle` and `busy`
read `/proc`. Rounds are interleaved, so that a disturbance meets every contender alike.
"""
