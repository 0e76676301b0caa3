"""Second, independent test set: simulated PET scans that the training simulator did not make."""

from benchmarks.independent.case import FRACTIONS, IndependentCase, load_case, make_case, save_case

__all__ = ["FRACTIONS", "IndependentCase", "load_case", "make_case", "save_case"]
