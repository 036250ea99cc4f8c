"""The plug-in by which NCCL or RCCL uses the network between nodes."""

# As both open it (NCCL: docs.nvidia.com/deeplearning/nccl, NCCL_NET_PLUGIN; RCCL's own name first).
LIBRARIES = {"cuda": ("libnccl-net.so",), "rocm": ("librccl-net.so", "libnccl-net.so")}
BUILT_IN = frozenset({"", "Socket", "IB"})  # of the networks that NCCL_NET may ask for


def libraries(accelerator: str) -> tuple[str, ...]:
    """Return the names of the library, the first that is found is taken; none for CPUs."""
    return LIBRARIES.get(accelerator, ())
