"""Torchvision's own .pth to safetensors, run as a process of its own with little memory: SOURCE TARGET.

Only files whose SHA-256 was checked come here. `weights_only=True` lets tensors and plain containers through
and nothing else, and what may still go wrong in the reader ends this process, not the caller's.
"""

from __future__ import annotations

import os
import sys

import torch

ROOM = 2**30  # bytes beyond what the file itself needs, read once and copied once


def limit(room: int) -> None:
    """No more address space than now and `room` bytes; no effect where the system has no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm") if os.path.exists("/proc/self/statm") else open(os.devnull) as file:
        pages = file.read().split()
    if pages:
        most = int(pages[0]) * os.sysconf("SC_PAGE_SIZE") + room
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(source: str, target: str) -> None:
    """Write the tensors of a state dict; exits with one line on standard error where there are none."""
    from safetensors.torch import save_file

    limit(4 * os.path.getsize(source) + ROOM)
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as e:  # whatever a reader of foreign bytes may raise: the message is all that leaves
        sys.exit(f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'unreadable'}")
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        sys.exit("no mapping of names to tensors")
    save_file({str(k): v.detach().contiguous().clone() for k, v in state.items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
