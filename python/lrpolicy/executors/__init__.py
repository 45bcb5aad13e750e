"""Executors run many trials, side by side where there is room."""
