"""Adapters for other people's frameworks: each stands on T1 and imports its framework only inside itself."""
