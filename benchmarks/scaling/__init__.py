"""What one more replica brings, and what each request costs every part of the topology.

python -m benchmarks.scaling            1, 2 and 4 registries, then the rows; writes scaling.md

Every registry gets a fixed share of one core, so that a few of them fit on one machine beside
the load, nginx, PostgreSQL with its synchronous standby, Redis and the object store. Throughput
then rises with the replicas until something that they share is spent; the cost of a request in
each shared part says when that is. The share is set by control groups, which takes root.
"""
