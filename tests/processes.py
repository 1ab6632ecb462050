"""Functions that run in several gloo processes at once."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

TIME_LIMIT = 120.0
# Children fork from a server that has imported what takes long, and nothing more.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.tiny_runs"])


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(*arguments)` returns, of plain types, in each of `count` processes.

    Processes have the environment in which Lightning's `ddp` starts no others. A function that
    needs no Trainer joins the group with `in_process_group`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes, processes = [], []
    for rank in range(count):
        receiving, sending = CONTEXT.Pipe(duplex=False)
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "NODE_RANK": "0",
            "LOCAL_RANK": str(rank),
            "RANK": str(rank),
            "WORLD_SIZE": str(count),
            "SLIFMR_CACHE": os.environ["SLIFMR_CACHE"],
        }
        process = CONTEXT.Process(
            target=_run, args=(environment, sending, function, arguments), daemon=True
        )
        process.start()
        sending.close()
        pipes.append(receiving)
        processes.append(process)
    try:
        results = {}
        while len(results) < count:
            ready = wait(set(pipes) - results.keys(), TIME_LIMIT)
            assert ready, "the processes are still running"
            results |= {pipe: _received(pipes.index(pipe), pipe) for pipe in ready}
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [results[pipe] for pipe in pipes]


def in_process_group(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function inside a process group."""
    torch.distributed.init_process_group("gloo")
    try:
        return function(*arguments)
    finally:
        torch.distributed.destroy_process_group()


def _run(
    environment: dict[str, str],
    sending: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        sending.send((function(*arguments), None))
    except Exception as error:
        sending.send((None, f"{type(error).__name__}: {error}"))
        raise


def _received(rank: int, pipe: Connection) -> Any:
    result, error = pipe.recv()
    assert error is None, f"rank {rank}: {error}"
    return result
