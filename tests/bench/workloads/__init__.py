"""The workloads: each runs on a stand of its own and gives figures."""
