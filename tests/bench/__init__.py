"""Side-by-side measurements: `python -m tests.bench`. See README.md's "How fast it is"."""
