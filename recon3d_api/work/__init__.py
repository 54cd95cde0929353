"""The queue of runs and the processes that work on them."""
