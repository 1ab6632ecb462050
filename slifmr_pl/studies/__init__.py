"""Many runs for one question: which settings are best, how robust a model is, what differs.

Each run is an ordinary `fit` or `test` in a process of its own, in a folder of its own; a study
that is started again goes on with the runs that are missing.
"""
