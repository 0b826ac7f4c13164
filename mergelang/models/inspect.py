"""What `mergelang inspect` shows of a model: plain data from its headers and config."""

from typing import Any

from mergelang.models.checkpoint import Checkpoint


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Tensors (name, dtype, shape, roles, bytes), totals by dtype and role, layers, architecture.

    A tensor of several roles counts under each; one of none under `other`.
    """
    inventory = checkpoint.inventory
    by_dtype: dict[str, int] = {}
    by_role: dict[str, int] = {}
    tensors = []
    for name in inventory:
        kind = inventory[name]
        roles = sorted(inventory.roles[name])
        by_dtype[kind.dtype] = by_dtype.get(kind.dtype, 0) + kind.nbytes
        for role in roles or ["other"]:
            by_role[role] = by_role.get(role, 0) + kind.nbytes
        tensors.append(
            {
                "name": name, "dtype": kind.dtype, "shape": list(kind.shape), "roles": roles,
                "bytes": kind.nbytes,
            }
        )  # fmt: skip
    return {
        "model": checkpoint.reference.text,
        "architecture": checkpoint.architecture or None,
        "layers": inventory.layering.count,
        "parameters": sum(inventory[name].count for name in inventory),
        "bytes": inventory.nbytes,
        "files": [path.name for path in checkpoint.files],
        "by_dtype": by_dtype,
        "by_role": by_role,
        "tensors": tensors,
    }
