"""Layouts of modules: a part of a model as a model, and put back into the whole."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mergelang.ops.layout import Layout, LayoutError, Pick
from mergelang.tensors import Inventory, Layering


def view(
    whole: Inventory, tensors: Mapping[str, str], section: str | None, architecture: str
) -> Layout:
    """Some tensors of a model under other names (`tensors`: new name to old), as a model."""
    towers = [
        replace(tower, prefix=prefix, stated=_below(tower.stated, section), others=())
        for tower in whole.layering.towers
        if (prefix := _inner_prefix(tower, tensors)) is not None
    ]
    layering = replace(towers[0], others=tuple(towers[1:])) if towers else Layering()
    made = Inventory(
        {new: whole[old] for new, old in tensors.items()}, layering,
        {new: whole.roles.get(old, frozenset()) for new, old in tensors.items()}, architecture,
    )  # fmt: skip
    origins = {new: Pick(0, old) for new, old in tensors.items()}
    edits = (("section", {"path": (section,)}),) if section else ()
    return Layout(made, origins, edits, {"of other modules": len(whole) - len(tensors)})


def graft(
    whole: Inventory, modules: Sequence[tuple[Mapping[str, str], Inventory]]
) -> Layout:
    """The whole with other tensors in the place of its modules, each given with its names.

    A module may have another number of layers. Raises LayoutError (E2304..) where it does not fit.
    """
    replaced = [set(names.values()) for names, _ in modules]
    origins = {name: Pick(0, name) for name in whole if not any(name in each for each in replaced)}
    tensors = {name: whole[name] for name in origins}
    roles = {name: whole.roles.get(name, frozenset()) for name in origins}
    counts: dict[str, int] = {}
    for index, (names, module) in enumerate(modules, 1):
        outer = _outer_names(whole, names, module, index)
        for inner, name in outer.items():
            tensors[name], origins[name] = module[inner], Pick(index, inner)
            roles[name] = module.roles.get(inner, frozenset())
        for tower in whole.layering.towers:
            prefix = _inner_prefix(tower, names)
            for own in module.layering.towers:
                if own.prefix == prefix:
                    counts[tower.prefix] = own.count
    towers = [
        replace(tower, count=counts.get(tower.prefix, tower.count), others=())
        for tower in whole.layering.towers
    ]
    edits = tuple(
        ("with_layers", {"count": new.count, "stated": new.stated})
        for new, old in zip(towers, whole.layering.towers, strict=True)
        if new.count != old.count
    )
    layering = replace(towers[0], others=tuple(towers[1:])) if towers else Layering()
    made = Inventory(_in_order(whole, tensors), layering, roles, whole.architecture)
    gone = sum(map(len, replaced))
    return Layout(made, origins, edits, {"modules that others take the place of": gone})


def _outer_names(
    whole: Inventory, names: Mapping[str, str], module: Inventory, index: int
) -> dict[str, str]:
    """The names in the whole of a module's tensors, which have to be those that it had there."""
    layers = {
        prefix: tower for tower in whole.layering.towers
        if (prefix := _inner_prefix(tower, names)) is not None
    }  # fmt: skip
    kinds: dict[tuple[str, str], set[tuple[int, ...]]] = {}
    outside = {}
    for inner, name in names.items():
        tower = whole.layering.tower(name)
        if tower is None:
            outside[inner] = name
        else:
            rest = tower.split(name)[1]
            kinds.setdefault((tower.prefix, rest), set()).add(whole[name].shape)
    found = {}
    for inner in module:
        own = module.layering.tower(inner)
        tower = layers.get(own.prefix) if own else None
        if tower is not None:
            layer, rest = own.split(inner)
            shapes, name = kinds.get((tower.prefix, rest)), tower.join(layer, rest)
        else:
            name = outside.pop(inner, None)
            shapes = name and {whole[name].shape}
        if not shapes:
            raise LayoutError("E2304", index, name=inner)
        if module[inner].shape not in shapes:
            wanted = " or ".join(str(list(each)) for each in sorted(shapes))
            raise LayoutError(
                "E2305", index, name=inner, got=list(module[inner].shape), wanted=wanted
            )
        found[inner] = name
    lacking = [*outside, *_lacking(names, module, layers)]
    if lacking:
        raise LayoutError("E2306", index, name=lacking[0], count=len(lacking))
    return found


def _lacking(
    names: Mapping[str, str], module: Inventory, layers: Mapping[str, Layering]
) -> list[str]:
    """Tensors that every layer of a module had in the whole, and some layer of this one lacks."""
    found = []
    for prefix, tower in layers.items():
        own = next((each for each in module.layering.towers if each.prefix == prefix), None)
        if own is None:
            found.append(f"{prefix}0")
            continue
        rests = [set() for _ in range(tower.count)]
        for name in names.values():
            layer, rest = tower.split(name)
            if layer is not None:
                rests[layer].add(rest)
        every = set.intersection(*rests)
        found += [
            own.join(layer, rest) for layer in range(own.count) for rest in sorted(every)
            if own.join(layer, rest) not in module
        ]  # fmt: skip
        found += [own.join(0, rest) for rest in tower.alone if own.join(0, rest) not in module]
    return found


def _in_order(whole: Inventory, tensors: Mapping) -> dict:
    """The tensors in the order of the whole, those that it did not have behind."""
    known = [name for name in whole if name in tensors]
    return {name: tensors[name] for name in dict.fromkeys((*known, *tensors))}


def _inner_prefix(tower: Layering, tensors: Mapping[str, str]) -> str | None:
    """How a module calls the layers of a tower; None if they are not in it."""
    for new, old in tensors.items():
        layer, rest = tower.split(old)
        if layer is not None:
            return new[: len(new) - len(f"{layer}.{rest}")]
    return None


def _below(stated: tuple[str, ...], section: str | None) -> tuple[str, ...]:
    return stated[1:] if section and stated[:1] == (section,) else stated


def aligned(inventory: Inventory, other: Inventory) -> Layout | None:
    """A model under the names that another has for the same tensors, where they differ by what
    stands in front: `h.0.` here, `transformer.h.0.` there. None where that is not so."""
    mine, theirs = inventory.layering.prefix, other.layering.prefix
    if mine == theirs or not mine or not theirs:
        return None
    if theirs.endswith(mine) and theirs[: -len(mine)].endswith("."):
        more, less = theirs[: -len(mine)], ""
    elif mine.endswith(theirs) and mine[: -len(theirs)].endswith("."):
        more, less = "", mine[: -len(theirs)]
    else:
        return None
    names = {}
    for name in inventory:
        new = more + name.removeprefix(less) if name.startswith(less) else name
        names[name] = new if new in other else name
    inside = (name for name in inventory if inventory.layering.split(name)[0] is not None)
    if len(set(names.values())) < len(names) or any(names[name] == name for name in inside):
        return None
    return renamed(inventory, names)


def renamed(inventory: Inventory, names: Mapping[str, str]) -> Layout:
    """The tensors of a model under new names (`names`: old name to new), those that have one."""
    origins = {names.get(name, name): Pick(0, name) for name in inventory}
    olds = {new: origin.name for new, origin in origins.items()}
    towers = [
        replace(tower, prefix=_inner_prefix(tower, olds) or tower.prefix, others=())
        for tower in (inventory.layering, *inventory.layering.others)
    ]
    made = Inventory(
        {new: inventory[old] for new, old in olds.items()},
        replace(towers[0], others=tuple(towers[1:])),
        {new: inventory.roles.get(old, frozenset()) for new, old in olds.items()},
        inventory.architecture, inventory.sparse,
    )  # fmt: skip
    return Layout(made, origins)
