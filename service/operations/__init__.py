"""What operators can have done: one registry of named, typed functions behind three doors.

The command line, the control socket of a process that owns an embedded database, and /ops/api all
perform the same operations: the same arguments, the same JSON, the same errors.
"""
