"""Moorage beside Debian's docker-registry on the same machine in the same run.

    python -m benchmarks [--rounds 5] [--quick] [--only WORD] [--output FILE]

Each case runs against one registry and then the other, round after round, and medians are
compared. Figures of one run can be set against each other, never those of two machines.
"""
