"""One file for each library.  Its functions are jobs: each returns a function to be timed."""

TOLERANCE = 1e-4  # of a loss, relative; of a gradient, relative to its largest entry
