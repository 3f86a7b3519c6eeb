"""Scoring as a Ray Data job: what ``client score`` does on one machine, on a cluster of them.

The driver looks for inputs and cuts them into partitions; Ray Data hands these to a pool of workers,
each with one client of its own, which write one Parquet part for each partition. The result is a
folder of parts. What a killed worker began Ray does again; what a killed run finished stays.
"""

from client.ray_job.driver import score_on_ray

__all__ = ["score_on_ray"]
