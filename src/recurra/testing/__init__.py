"""The laws of behaviour that every cell keeps, and `check_cell`, which tries them on any cell, also a user's own."""

from recurra.testing.check import check_cell
from recurra.testing.laws import LAWS, Law
from recurra.testing.subject import Subject

__all__ = ["LAWS", "Law", "Subject", "check_cell"]
