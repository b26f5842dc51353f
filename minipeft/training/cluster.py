"""Executor on a Dask cluster, which gives the same bits as the threads of one machine."""

import io
import pickle
import socket
import uuid
from concurrent.futures import Executor

import cloudpickle
import dask
from distributed import Client, KilledWorker, WorkerPlugin
from distributed.cfexecutor import ClientExecutor
from distributed.client import FutureCancelledError
from distributed.comm import get_address_host_port

from ..autograd.nn import Module
from .parallel import ONE_BLAS_THREAD

LOST = KilledWorker, FutureCancelledError  # errors: a call ended several workers, or was lost
NETWORKS = {}  # {name: network}: the same in the processes of a client and of its workers


class Cluster(ClientExecutor):
    """Executor of functions on the workers of a Dask scheduler, each with one thread of BLAS.

    A network among the arguments is sent to each worker once, and in calls its name stands for it;
    it must not change.  If a worker is lost, Dask repeats its calls on another one.

    address: of the scheduler, such as "tcp://10.0.0.1:8786".
    timeout: seconds to wait for the scheduler, and for a first worker.
    Raises ValueError for an address at which no scheduler answers, or that has no workers.
    """

    def __init__(self, address: str, timeout: float = 10):
        try:
            socket.create_connection(get_address_host_port(address), timeout).close()
            client = Client(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"no Dask scheduler answers at {address!r}: {error}") from None
        super().__init__(client, pure=False)
        self.names = {}  # {id of a network: its name}
        try:
            client.wait_for_workers(1, timeout)
        except TimeoutError:
            self.shutdown()
            raise ValueError(
                f"the scheduler at {address} has no workers: dask worker {address}"
            ) from None

    @property
    def workers(self) -> int:
        """The number of calls that run at a time."""
        return sum(self._client.nthreads().values())

    def submit(self, f, /, *args, **options):
        """Return a Future of f(*args, **options)."""
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return super().submit(call, dumps((f, args, options), self.name))

    map = Executor.map  # of `submit`

    def name(self, network: Module) -> str:
        """Return the name of a network; if it is new, send it to all workers, those to come too."""
        if id(network) not in self.names:
            name = f"minipeft-{uuid.uuid4().hex}"
            NETWORKS[name], self.names[id(network)] = network, name
            self._client.register_plugin(Send(name, network), name)
        return self.names[id(network)]

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Wait for the calls, or cancel them, and delete what was sent."""
        super().shutdown(wait and not cancel_futures)
        for name in self.names.values():
            self._client.unregister_worker_plugin(name)
            del NETWORKS[name]
        self.names = {}
        self._client.close()


class Send(WorkerPlugin):
    """Plugin that keeps a network in the process of each worker."""

    def __init__(self, name, network):
        self.name, self.network = name, network

    def setup(self, worker):
        NETWORKS.setdefault(self.name, self.network)

    def teardown(self, worker):
        NETWORKS.pop(self.name, None)


class Pickler(cloudpickle.Pickler):
    """Pickler that writes the name of a network in place of it, if it has one."""

    def __init__(self, file, name):
        super().__init__(file, protocol=5)
        self.name = name

    def persistent_id(self, thing):
        is_network = isinstance(thing, Module) and not thing.path  # a layer has a path
        return self.name(thing) if is_network else None


class Unpickler(pickle.Unpickler):
    persistent_load = staticmethod(NETWORKS.__getitem__)


def dumps(thing, name) -> bytes:
    """Return a pickle, in which name(network) stands for a network, unless it is None."""
    file = io.BytesIO()
    Pickler(file, name).dump(thing)
    return file.getvalue()


def loads(data: bytes):
    """Return what `dumps` was given."""
    return Unpickler(io.BytesIO(data)).load()


class Result:
    """Result of a call; unpickled, it is the result itself."""

    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return loads, (self.data,)


def call(data: bytes) -> Result:
    """Return the result of a pickled (f, args, options), on a worker."""
    f, args, options = loads(data)
    names = {id(network): name for name, network in list(NETWORKS.items())}
    with ONE_BLAS_THREAD:
        return Result(dumps(f(*args, **options), lambda network: names.get(id(network))))
