"""How long training takes on a machine that was measured: what a step computes, and seconds per unit of it.

Pure but for `saved`, which keeps what was measured in a file; without torch, so that `plan` can ask.
"""
