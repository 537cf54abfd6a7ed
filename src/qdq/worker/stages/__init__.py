"""The stages: each reads inputs by fixed names, writes outputs by fixed names, returns JSON values.

They run as ``python -m qdq.worker.stages spec.json`` in a folder of their own, which is all they
may write to.  What they print to standard error is the job's log.
"""
