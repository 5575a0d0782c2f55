"""The parts of `autoquant_baseline.py`: calibration data, the search, and what is written of it."""
