"""The only package that imports Dask: worker processes, and the context through which stages use them.

All native work (pycolmap, Open3D, video decoding, compiled kernels) runs in worker processes, so
that an abort in C++ ends a worker and never the notebook or the web server. The default is a
cluster on this machine: the scheduler lives in a thread of this process, the workers are
subprocesses that run one task each and die with it. An address of a Dask scheduler takes its
place on a real cluster.
"""

from recon3d.compute.cluster import Cluster, cluster_for_run, load_dask
from recon3d.compute.context import InlineContext, StageContext
from recon3d.compute.machine import usable_cores, usable_memory
from recon3d.compute.reading import reads
from recon3d.compute.target import check_scheduler, describe_scheduler
from recon3d.compute.usage import Usage
from recon3d.compute.worker import task_progress

__all__ = [
    "Cluster",
    "InlineContext",
    "StageContext",
    "Usage",
    "check_scheduler",
    "cluster_for_run",
    "describe_scheduler",
    "load_dask",
    "reads",
    "task_progress",
    "usable_cores",
    "usable_memory",
]
