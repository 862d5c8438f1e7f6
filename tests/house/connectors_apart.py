"""An import rule for import-linter: connectors, the folders below `parent`, import no other connector; modules beside them import none.

It finds the connectors itself, so that a new one need not be named in pyproject.toml.
"""

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck


class ConnectorsApart(Contract):
    """Options: `parent`, the package that holds the connectors."""

    type_name = "connectors_apart"

    parent = fields.ModuleField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        children = graph.find_children(self.parent.name)  # type: ignore[attr-defined]
        folders = {child for child in children if graph.find_children(child)}
        chains = [
            chain
            for folder in sorted(folders)
            for child in sorted(children - {folder})
            if (chain := graph.find_shortest_chain(child, folder, as_packages=True)) is not None
        ]
        return ContractCheck(kept=bool(folders) and not chains, metadata={"chains": chains})

    def render_broken_contract(self, check: ContractCheck) -> None:
        output.print_error("\n".join(" imports ".join(chain) for chain in check.metadata["chains"]) or "there is no connector")
