"""What a cycle is going to do, as a value: printable, comparable, carried out at most once."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_cleanup.model.item import Item
from mlflow_cleanup.model.verdict import Candidate, Garbage, Keep


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take this candidate's place out of use."""

    candidate: Candidate
    verdict: Garbage


@dataclass(frozen=True, slots=True)
class Keeping:
    """Leave this candidate's place alone, for now, with the reason."""

    candidate: Candidate
    verdict: Keep


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one cycle, in the order in which they are carried out.

    `restore` goes first, as somebody is waiting for those bytes; `purge` goes last. `hold_again`
    are rests of a colliding restore whose entity is gone again, and what was restored and deleted
    once more unseen: their retention begins anew.
    """

    restore: tuple[Item, ...] = ()
    hold_again: tuple[Item, ...] = ()
    quarantine: tuple[Quarantine, ...] = ()
    keep: tuple[Keeping, ...] = ()
    purge: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a safeguard refuses everything, until an operator has confirmed `plan_id`.

    The id is made from the facts, so the same situation has the same id in every cycle, and a
    confirmation holds for that situation only. One that `is_lasting` stands until somebody answers,
    though its signs may go by themselves.
    """

    plan_id: str
    reason: str
    is_lasting: bool = False
